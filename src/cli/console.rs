//! Writing to the terminal, or to whatever stands in its place, without panicking when that goes away.

use std::io::Write;

use anyhow::{Context, Result};
use polyglance::index::LeftOut;

/// Writes to standard output at once.
///
/// # Errors
/// A full disk, or a closed pipe, which `exit::report` takes for a wish to stop.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// Writes a line to standard error. Where that is closed there is nobody to tell.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes what was left out to standard error; nothing if that is nothing.
pub(crate) fn report(left_out: &LeftOut) {
    let report = left_out.to_string();
    if !report.is_empty() {
        note(report.trim_end());
    }
}
