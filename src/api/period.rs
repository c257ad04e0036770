//! A length of time as users write it.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time as users write it: `500ms`, `30s`, `2m`, `1h30m`.
// Kept as it was written, so that an object that an older schema let pass can be read and answered with a condition.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Period(String);

/// The longest period: anything longer is a slip of the pen.
const PERIOD_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

impl Period {
    /// The period that `text` says, right or wrong.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Period {
        Period(text.into())
    }

    /// How long it is.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn duration(&self) -> Result<Duration, String> {
        let wrong = || {
            format!(
                "{:?} is no length of time: write a number and a unit such as 500ms, 30s, 2m or 1h30m",
                self.0
            )
        };
        let span: jiff::SignedDuration = self.0.parse().map_err(|_| wrong())?;
        let duration = Duration::try_from(span).map_err(|_| wrong())?;
        if duration > PERIOD_MAX {
            return Err(format!("{} is longer than a week: shorten it", self.0));
        }
        Ok(duration)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]+(ms|s|m|h))+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_as_users_write_them() {
        let read = |text: &str| Period::new(text).duration();
        assert_eq!(read("0s"), Ok(Duration::ZERO));
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("1h30m"), Ok(Duration::from_secs(5_400)));
        let wrong =
            "\"soon\" is no length of time: write a number and a unit such as 500ms, 30s, 2m or 1h30m";
        assert_eq!(read("soon"), Err(wrong.to_owned()));
        assert!(read("-3s").is_err());
        assert_eq!(
            read("200h"),
            Err("200h is longer than a week: shorten it".to_owned())
        );
    }
}
