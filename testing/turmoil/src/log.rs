//! What the processes log, for looking into a seed: `TURMOIL_LOG=debug` shows it, with the simulated time.

use std::fmt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match turmoil::sim_elapsed() {
            Some(elapsed) => write!(writer, "{:>12.3}", elapsed.as_secs_f64()),
            None => write!(writer, "{:>12}", "-"),
        }
    }
}

/// Shows what `TURMOIL_LOG` asks for; nothing where it is not set.
pub fn init() {
    let Ok(filter) = EnvFilter::try_from_env("TURMOIL_LOG") else {
        return;
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Simulated)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // Each test of a program asks for it, and the first is heard.
    drop(subscriber.try_init());
}
