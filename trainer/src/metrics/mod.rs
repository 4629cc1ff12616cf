//! What a run reports: a progress line, `metrics.jsonl`, and event files for TensorBoard.

mod jsonl;
mod progress;
mod tensorboard;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use jsonl::JsonLines;
pub use progress::Progress;
pub(crate) use progress::duration;
pub use tensorboard::EventFile;

/// A file of measurements could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct MetricsError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// One step, as reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// Counted from 1: the number of steps done.
    pub step: u64,
    /// Sum of the weighted losses.
    pub loss: f64,
    /// Learning rate times schedule.
    pub learning_rate: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// exp(t′), the factor on cosines.
    pub temperature: f64,
    /// Added to logits.
    pub logit_bias: f64,
    /// Sequence length drawn for this step.
    pub max_num_patches: usize,
    /// Patches of all images.
    pub tokens: usize,
    /// Pairs seen since the start of the run.
    pub examples: u64,
    /// Pairs per second of this step.
    pub images_per_sec: f64,
}

impl StepRecord {
    /// What TensorBoard plots.
    fn scalars(&self) -> [(&'static str, f64); 7] {
        [
            ("train/loss", self.loss),
            ("train/learning_rate", self.learning_rate),
            ("train/gradient_norm", self.gradient_norm),
            ("train/temperature", self.temperature),
            ("train/logit_bias", self.logit_bias),
            ("train/examples", self.examples as f64),
            ("speed/images_per_sec", self.images_per_sec),
        ]
    }
}

/// All three at once.
#[derive(Debug)]
pub struct Metrics {
    lines: JsonLines,
    events: EventFile,
    progress: Progress,
}

impl Metrics {
    /// Continues the files in `folder` after `step`; records of later steps, which a crash left, are dropped.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn open(folder: &Path, step: u64, steps: u64) -> Result<Self, MetricsError> {
        let lines = JsonLines::open(&folder.join("metrics.jsonl"), step)?;
        Ok(Self { lines, events: EventFile::create(folder, step)?, progress: Progress::new(step, steps) })
    }

    /// Drops what was reported after `step`: the run went back to it.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn rewind(&mut self, step: u64) -> Result<(), MetricsError> {
        self.lines.rewind(step)?;
        self.events.restart(step)
    }

    /// Reports a step.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn step(&mut self, record: &StepRecord) -> Result<(), MetricsError> {
        self.progress.step(record);
        self.lines.write(record)?;
        self.events.scalars(record.step, &record.scalars())
    }

    /// Reports the results of an evaluation after `step` steps.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn evaluation(&mut self, step: u64, results: &[(String, f64)]) -> Result<(), MetricsError> {
        let values: serde_json::Map<_, _> = results.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
        self.progress.note(&format!("step {step}: {}", summary(results)));
        self.lines.write(&serde_json::json!({ "step": step, "evaluation": values }))?;
        let scalars: Vec<_> = results.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.events.scalars(step, &scalars)
    }

    /// Reports something out of the ordinary.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn note(&mut self, step: u64, text: &str) -> Result<(), MetricsError> {
        self.progress.note(text);
        self.lines.write(&serde_json::json!({ "step": step, "note": text }))
    }
}

/// A line from names like `zero_shot/ja/top_1`: the mean of each measure, and its lowest and highest language if there are several.
fn summary(results: &[(String, f64)]) -> String {
    let mut measures = BTreeMap::<(&str, &str), Vec<(f64, &str)>>::new();
    for (name, value) in results {
        let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
        let (language, measure) = rest.split_once('/').unwrap_or(("", rest));
        measures.entry((kind, measure)).or_default().push((*value, language));
    }
    let measure = |((kind, measure), mut values): ((&str, &str), Vec<(f64, &str)>)| {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean = values.iter().map(|(value, _)| value).sum::<f64>() / values.len() as f64;
        let range = match values.as_slice() {
            [(low, worst), .., (high, best)] => format!(" ({worst} {low:.3} to {best} {high:.3})"),
            _ => String::new(),
        };
        format!("{kind} {measure} {mean:.3}{range}")
    };
    measures.into_iter().map(measure).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_fits_a_line() {
        let results = [("zero_shot/en/top_1", 0.5), ("zero_shot/ja/top_1", 0.25), ("retrieval/en/text_to_image_1", 0.125)];
        let results = results.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(summary(&results), "retrieval text_to_image_1 0.125, zero_shot top_1 0.375 (ja 0.250 to en 0.500)");
    }
}
