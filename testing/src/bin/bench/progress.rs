//! How far the measurement is: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Elsewhere than on a terminal, a line comes no more often than this.
const PAUSE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Progress {
    name: &'static str,
    of: usize,
    began: Instant,
    shown: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(name: &'static str, of: usize) -> Self {
        Self {
            name,
            of,
            began: Instant::now(),
            shown: None,
        }
    }

    pub(crate) fn show(&mut self, done: usize, last: &str) {
        let ended = done >= self.of;
        let seconds = self.began.elapsed().as_secs();
        let line = format!("{} {done}/{}, {seconds} s: {last}", self.name, self.of);
        let text = match io::stderr().is_terminal() {
            true => format!("\r\x1b[K{line:.120}{}", if ended { "\n" } else { "" }),
            false if ended || self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE) => format!("{line}\n"),
            false => return,
        };
        self.shown = Some(Instant::now());
        say(&text);
    }
}

/// Tells the user something beside the figures. Nobody can be told that stderr is closed.
pub(crate) fn say(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}
