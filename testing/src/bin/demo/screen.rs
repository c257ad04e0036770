//! What the demo shows: a story, and below it, on a terminal, a table that is drawn anew in its place. Elsewhere each
//! row that changes is a line of the story.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use crate::table::{Row, heading};

/// Erases from the cursor to the end of the screen.
const ERASE_BELOW: &str = "\x1b[J";
/// A row longer than the terminal is wide must not become two: the cursor would not find back.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

pub(crate) struct Screen {
    terminal: bool,
    began: Instant,
    rows: Vec<Row>,
    /// How many lines of the table stand above the cursor.
    drawn: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            began: Instant::now(),
            rows: Vec::new(),
            drawn: 0,
        }
    }

    /// Tells the next sentence of the story.
    pub(crate) fn say(&mut self, text: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.write(&format!("{seconds:6.1} s  {text}\n"));
    }

    /// Prints lines that are no part of the story.
    pub(crate) fn print(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Shows the clusters as they are now.
    pub(crate) fn show(&mut self, rows: Vec<Row>) {
        if rows == self.rows {
            return;
        }
        let before = std::mem::replace(&mut self.rows, rows);
        if self.terminal {
            return self.write("");
        }
        let changed: Vec<String> = self
            .rows
            .iter()
            .filter(|row| !before.contains(row))
            .map(Row::sentence)
            .collect();
        for sentence in changed {
            self.say(&format!("  {sentence}"));
        }
    }

    /// Leaves the table as it is, and goes on below it.
    pub(crate) fn leave_table(&mut self) {
        self.rows.clear();
        self.drawn = 0;
    }

    /// Writes text where the table was, and the table below. Nobody can be told that stdout is closed.
    fn write(&mut self, text: &str) {
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A\r{ERASE_BELOW}", self.drawn));
        }
        out.push_str(text);
        self.drawn = 0;
        if self.terminal && !self.rows.is_empty() {
            out.push_str(&format!("{WRAP_OFF}\n  {}\n", heading()));
            for row in &self.rows {
                out.push_str(&format!("  {row}\n"));
            }
            out.push_str(WRAP_ON);
            self.drawn = self.rows.len() + 2;
        }
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(out.as_bytes())
            .and_then(|()| stdout.flush())
            .ok();
    }
}
