//! Exit codes, the same for every command.

use std::process::ExitCode;

use super::UsageError;
use super::console::note;
use super::signals::Interrupted;

/// Everything asked for was done.
const DONE: u8 = 0;
/// Nothing usable came out; standard error says why.
const FAILED: u8 = 1;
/// The command line is wrong (also clap's code).
const USAGE: u8 = 2;
/// The result is complete and right for all but the pictures listed on standard error.
const SOME_SKIPPED: u8 = 3;
/// Stopped by Ctrl-C: 128 + SIGINT, as shells count.
pub(crate) const INTERRUPTED: u8 = 130;

/// The part of `--help` that explains the codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0    everything asked for was done
  1    failed; the message names the file or model and what to do
  2    the command line is wrong
  3    done, but some pictures could not be read: they are listed on standard error
  130  stopped by Ctrl-C; no file was left half-written";

/// How far a command came that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Some pictures were left out; they have been reported.
    SomeSkipped,
}

/// Prints the error, if any, and picks the code.
pub(crate) fn report(result: &anyhow::Result<Outcome>) -> ExitCode {
    let error = match result {
        Ok(Outcome::Done) => return ExitCode::from(DONE),
        Ok(Outcome::SomeSkipped) => return ExitCode::from(SOME_SKIPPED),
        Err(error) => error,
    };
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        // The reader of our output, such as `head`, has seen enough.
        return ExitCode::from(DONE);
    }
    if error.is::<Interrupted>() {
        note(&format!("{error:#}"));
        return ExitCode::from(INTERRUPTED);
    }
    note(&format!("error: {error:#}"));
    ExitCode::from(if error.is::<UsageError>() { USAGE } else { FAILED })
}
