//! Times as users write them: `30s`, `1m30s`, `500ms`.

use std::time::Duration;

/// Longest text that is read: more than any time needs.
const TEXT_MAX_BYTES: usize = 32;
/// Longest time that is taken: a wait of more than a day is a mistake.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a time looks like, for the schema: one or more numbers, each with its unit, as in Go.
pub(super) const PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// Reads a time of more than nothing and at most a day.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let misread = || {
        format!("{text:?} is not a time: write numbers with the units ms, s, m or h, such as 30s or 1m30s")
    };
    if text.is_empty() || text.len() > TEXT_MAX_BYTES {
        return Err(misread());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end_of_number = rest
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .ok_or_else(misread)?;
        let (number, after) = rest.split_at(end_of_number);
        let end_of_unit = after
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end_of_unit);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(misread()),
        };
        let number: f64 = number.parse().map_err(|_| misread())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| too_long(text))?;
        total = total.checked_add(part).ok_or_else(|| too_long(text))?;
        rest = after;
    }
    match total {
        Duration::ZERO => Err(format!("{text:?} is no time at all: write one of more than 0")),
        total if total > TIME_MAX => Err(too_long(text)),
        total => Ok(total),
    }
}

fn too_long(text: &str) -> String {
    format!("{text:?} is more than a day: write a shorter time")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("1h0m1s", 3_601_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_with_what_to_write() {
        for text in [
            "",
            "30",
            "s",
            "1 s",
            "-1s",
            "+1s",
            "1d",
            "1.2.3s",
            ".s",
            "é",
            "1sé",
            &"1s".repeat(17),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains("such as 30s or 1m30s"), "{text}: {error}");
        }
        for text in ["0s", "0ms", "0h0m"] {
            assert!(
                parse_duration(text).unwrap_err().contains("more than 0"),
                "{text}"
            );
        }
        for text in ["24h1ms", "99999999999999999999h", "25h"] {
            assert!(
                parse_duration(text).unwrap_err().contains("more than a day"),
                "{text}"
            );
        }
    }
}
