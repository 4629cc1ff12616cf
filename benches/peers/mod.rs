//! Other software that is timed beside ours: a Python script that runs one thing for each line that it reads.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use polyglance::platform::threads;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A running script of this folder.
pub(crate) struct Peers {
    script: &'static str,
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peers {
    /// Starts `script` with an input and our number of threads, and waits until it is ready.
    pub(crate) fn start(python: &str, script: &'static str, input: &OsStr) -> Result<Self, Failure> {
        let mut process = Command::new(python)
            .arg(format!("{}/benches/peers/{script}", env!("CARGO_MANIFEST_DIR")))
            .arg(input)
            .arg(threads().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(requests), Some(output)) = (process.stdin.take(), process.stdout.take()) else { return Err("no pipes".into()) };
        let mut peers = Self { script, _process: process, requests, answers: BufReader::new(output).lines() };
        // Libraries print whatever they like before.
        while peers.answer()? != "ready" {}
        Ok(peers)
    }

    /// Seconds of one run of what a line names.
    pub(crate) fn run_secs(&mut self, line: &str) -> Result<f64, Failure> {
        writeln!(self.requests, "{line}")?;
        Ok(self.answer()?.parse()?)
    }

    fn answer(&mut self) -> Result<String, Failure> {
        let ended = || format!("benches/peers/{} ended; run it by hand to see why", self.script);
        Ok(self.answers.next().ok_or_else(ended)??)
    }
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// The least value that at least this share of all does not exceed.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}
