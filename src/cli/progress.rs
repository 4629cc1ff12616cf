//! Progress bars, on a terminal only, and messages that do not tear them.

use indicatif::{ProgressBar, ProgressStyle};

use super::console::note;

/// Progress through a known number of pictures or texts, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `count` of `what`. Hidden when standard error is not a terminal.
    pub(crate) fn new(count: usize, what: &'static str) -> Self {
        let bar = ProgressBar::new(count as u64);
        // The template is a constant; should it ever be wrong, indicatif's own is good enough.
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar }
    }

    /// Moves the bar, where the count is known only now.
    pub(crate) fn show(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    /// Counts `count` more as done.
    pub(crate) fn add(&self, count: usize) {
        self.bar.inc(count as u64);
    }

    /// Prints a line to standard error, above the bar if there is one.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress of a download, in bytes.
#[cfg(feature = "hub")]
#[derive(Debug)]
pub(crate) struct Download {
    bar: ProgressBar,
}

#[cfg(feature = "hub")]
impl Download {
    /// A bar that is hidden when standard error is not a terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Moves the bar.
    pub(crate) fn show(&self, file: &str, done: u64, total: u64) {
        if self.bar.message() != file {
            self.bar.set_message(file.to_owned());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

#[cfg(feature = "hub")]
impl Drop for Download {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
