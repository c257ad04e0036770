//! What commands print: data to standard output, everything else to standard error.

use std::io::{self, Write};

use serde::Serialize;

use super::Error;

/// How a command prints data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// YAML documents, for `kubectl apply -f -`.
    Yaml,
    /// One List in JSON, for `kubectl apply -f -` and for programs.
    Json,
}

/// Renders objects as text that `kubectl apply -f` takes; `preface` is a comment for the top of YAML.
pub(super) fn render<T: Serialize>(
    what: &'static str,
    objects: &[T],
    preface: &str,
    format: Format,
) -> Result<String, Error> {
    match format {
        Format::Yaml => {
            let mut text = preface.to_owned();
            for object in objects {
                text.push_str("---\n");
                text.push_str(
                    &serde_saphyr::to_string(object).map_err(|source| Error::WriteYaml {
                        object: what,
                        source: Box::new(source),
                    })?,
                );
            }
            Ok(text)
        }
        Format::Json => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
            let mut text = serde_json::to_string_pretty(&list)
                .map_err(|source| Error::WriteJson { object: what, source })?;
            text.push('\n');
            Ok(text)
        }
    }
}

/// Prints data. A reader that has seen enough, such as `head`, is no failure.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Print(error)),
        _ => Ok(()),
    }
}

/// Tells the user how the command gets on.
#[allow(clippy::print_stderr, reason = "this is the command line's voice")]
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}

/// Tells the user why the command failed.
pub fn report(error: &Error) {
    say(&format!("flagship: {error}"));
}
