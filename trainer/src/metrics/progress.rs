//! The progress line on a terminal; elsewhere a plain line now and then.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use polyglance::platform::Stopwatch;

use super::StepRecord;

/// Seconds between plain lines.
const PLAIN_INTERVAL_SECS: f64 = 10.0;

/// Tells a person how far the run is, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    watch: Stopwatch,
    last_line_secs: f64,
    first: u64,
    steps: u64,
}

impl Progress {
    /// A run of `steps` steps of which `done` are behind it.
    pub fn new(done: u64, steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps).with_position(done);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, watch: Stopwatch::start(), last_line_secs: f64::NEG_INFINITY, first: done, steps }
    }

    /// Shows a step.
    pub fn step(&mut self, record: &StepRecord) {
        let elapsed = self.watch.elapsed_secs();
        let left = elapsed / (record.step - self.first).max(1) as f64 * self.steps.saturating_sub(record.step) as f64;
        let text = format!(
            "loss {:.4}  lr {:.2e}  {:.1} images/s  {} left",
            record.loss,
            record.learning_rate,
            record.images_per_sec,
            duration(left)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(record.step);
                bar.set_message(text);
            }
            None if elapsed - self.last_line_secs >= PLAIN_INTERVAL_SECS || record.step == self.steps => {
                self.last_line_secs = elapsed;
                eprintln!("step {}/{}  {text}", record.step, self.steps);
            }
            None => {}
        }
    }

    /// Shows a line that stays.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// Seconds as a person writes them: `3 h 05 min`, `12 min 30 s`, `4 s`.
pub(crate) fn duration(secs: f64) -> String {
    let secs = secs.round() as u64;
    match secs {
        3600.. => format!("{} h {:02} min", secs / 3600, secs / 60 % 60),
        60.. => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{secs} s"),
    }
}
