//! What loading has cost and left out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::example::{Bad, Reason};

/// Counts since the loader was opened; a resumed run counts anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Examples in batches.
    pub examples: u64,
    /// Their tokens, of images.
    pub image_tokens: u64,
    /// Texts among them whose end did not fit.
    pub truncated_texts: u64,
    /// Examples left out, by reason.
    pub skipped: BTreeMap<Reason, u64>,
    /// Images cut a second time, because the batch they were cut for was filled by others.
    pub recut: u64,
    /// Time spent on decoding, cutting and tokenising, summed over threads.
    pub prepare_secs: f64,
    /// Time that the caller waited for batches.
    pub wait_secs: f64,
}

impl Statistics {
    /// Images that one thread decodes and cuts in a second.
    pub fn images_per_thread_sec(&self) -> f64 {
        let images = self.examples + self.skipped.values().sum::<u64>();
        if self.prepare_secs > 0.0 { images as f64 / self.prepare_secs } else { 0.0 }
    }
}

/// Bad examples of one source, for the error that they may end in.
#[derive(Debug, Default)]
pub(super) struct BadList {
    counts: BTreeMap<Reason, u64>,
    examples: Vec<String>,
}

/// Bad examples that are kept by name.
const NAMED: usize = 5;

impl BadList {
    pub(super) fn add(&mut self, bad: &Bad) {
        *self.counts.entry(bad.reason).or_default() += 1;
        if self.examples.len() < NAMED {
            self.examples.push(bad.to_string());
        }
    }

    /// Counts by reason, then a few by name.
    pub(super) fn describe(&self) -> String {
        let counts: Vec<_> = self.counts.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
        format!("{}\n  {}", counts.join(", "), self.examples.join("\n  "))
    }
}
