//! Logs to standard error: text for a person at a terminal, JSON lines for everything else.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged unless the user asks otherwise: every change of state, and what goes wrong. The libraries' own words for
/// an API server that cannot be reached name no object; who needed it says more.
const DEFAULT_FILTER: &str = "info,kube_client::client=off,kube_runtime=error";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "cannot read the log level {filter:?}: {source}. Write error, warn, info, debug or trace, or a filter such as info,flagship::election=debug"
    )]
    ReadFilter {
        /// What was written.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else logs already.
    #[error("cannot set up logging: {0}")]
    SetUp(#[from] TryInitError),
}

/// Starts logging for the whole process, once.
///
/// `level` is what the user gave on the command line; without it, the environment variable `RUST_LOG` counts.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn init(level: Option<&str>) -> Result<(), LogError> {
    let environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let filter = filter(level, environment.as_deref())?;
    Registry::default()
        .with(layer(io::stderr().is_terminal()).with_filter(filter))
        .try_init()?;
    Ok(())
}

fn filter(level: Option<&str>, environment: Option<&str>) -> Result<EnvFilter, LogError> {
    let given = |text: &&str| !text.trim().is_empty();
    let chosen = level
        .filter(given)
        .or(environment.filter(given))
        .unwrap_or(DEFAULT_FILTER);
    EnvFilter::try_new(chosen).map_err(|source| LogError::ReadFilter {
        filter: chosen.to_owned(),
        source,
    })
}

fn layer(terminal: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(io::stderr);
    if terminal {
        layer.boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_command_line_counts_before_the_environment() {
        let chosen = |level, environment| filter(level, environment).unwrap().to_string();
        assert_eq!(chosen(Some("debug"), Some("trace")), "debug");
        assert_eq!(chosen(None, Some("trace")), "trace");
        let usual = "kube_client::client=off,kube_runtime=error,info";
        assert_eq!(chosen(None, Some(" ")), usual);
        assert_eq!(chosen(None, None), usual);
    }

    #[test]
    fn a_wrong_level_is_told_and_not_ignored() {
        let error = filter(Some("flagship=loud"), None).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read the log level \"flagship=loud\": "),
            "{error}"
        );
    }
}
