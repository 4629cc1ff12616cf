//! Running the program.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::fixture;

/// What came out of a run.
pub(super) struct Finished {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// The program, away from the network and from whatever models this machine has.
pub(super) struct Polyglance(Command);

pub(super) fn polyglance<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Polyglance {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polyglance"));
    command.env("HF_HUB_OFFLINE", "1").env("HF_HUB_CACHE", fixture("no such cache")).args(args);
    Polyglance(command)
}

impl Polyglance {
    pub(super) fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.0.arg(arg);
        self
    }

    pub(super) fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.0.args(args);
        self
    }

    /// For runs that need more than waiting for the end.
    pub(super) fn command(&mut self) -> &mut Command {
        &mut self.0
    }

    pub(super) fn succeeds(&mut self) -> Finished {
        self.fails(0)
    }

    /// Runs to the end and checks the exit code.
    pub(super) fn fails(&mut self, code: i32) -> Finished {
        finished(&self.0.output().unwrap(), code)
    }
}

pub(super) fn finished(output: &Output, code: i32) -> Finished {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {stdout}\nstderr: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    Finished { stdout, stderr }
}

/// A model of the fixtures.
pub(super) fn model(name: &str) -> PathBuf {
    fixture(&format!("models/{name}"))
}

/// The folder of pictures that the models' expected numbers are for.
pub(super) fn images() -> PathBuf {
    fixture("images_for_models")
}
