//! Prepared examples to batches, with the position after each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polyglance::image::{PatchBatch, Patches};
use polyglance::text::Tokens;
use serde::{Deserialize, Serialize};

use super::blocks::Place;
use super::example::{Bad, Example, Reason};
use super::pool::Pool;
use super::prepare::{Prepared, Preparer};
use super::schedule::Schedule;
use super::statistics::{BadList, Statistics};
use super::{Batch, Cancel, DataError, limits};

/// A place in the data, between two batches: all that a checkpoint keeps of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPosition {
    /// Number of the next batch.
    pub batch: u64,
    /// Examples drawn so far, bad ones included.
    pub drawn: u64,
    /// Places in the sources, in the order of the recipe.
    pub(super) sources: Vec<SourcePosition>,
}

impl DataPosition {
    /// Whole passes over each source so far.
    pub fn epochs(&self) -> Vec<u64> {
        self.sources.iter().map(|source| source.place.block.epoch).collect()
    }
}

/// A place in one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourcePosition {
    /// Hash of its shards' names: a position means something else in other data.
    pub(super) shards: u64,
    #[serde(flatten)]
    pub(super) place: Place,
    /// Examples drawn, bad ones among them, and shards found damaged in this epoch.
    pub(super) seen: u64,
    pub(super) bad: u64,
    pub(super) damaged: u64,
}

/// What a thread made of an example.
pub(super) struct Outcome {
    pub(super) ordinal: u64,
    pub(super) source: usize,
    pub(super) after: Place,
    /// The budget it was cut for.
    pub(super) max_num_patches: usize,
    pub(super) result: Result<(Example, Prepared), Bad>,
    pub(super) prepare_secs: f64,
}

/// One source as the assembler sees it.
pub(super) struct SourceWatch {
    pattern: String,
    shard_count: u64,
    list: BadList,
}

impl SourceWatch {
    pub(super) fn new(pattern: &str, shards: usize) -> Self {
        Self { pattern: pattern.to_owned(), shard_count: shards as u64, list: BadList::default() }
    }
}

/// Fills batches in order.
pub(super) struct Assembler {
    pub(super) outcomes: Pool<Result<Outcome, DataError>>,
    pub(super) preparer: Preparer,
    pub(super) schedule: Schedule,
    pub(super) position: DataPosition,
    pub(super) sources: Vec<SourceWatch>,
    pub(super) bad: Arc<AtomicU64>,
    pub(super) statistics: Arc<Mutex<Statistics>>,
    pub(super) cancel: Cancel,
}

impl Assembler {
    /// The next batch: exactly as many images as its shape says, bad examples replaced by those that follow.
    pub(super) fn next(&mut self) -> Result<Batch, DataError> {
        let shape = self.schedule.shape(self.position.batch);
        let (mut patches, mut texts): (Vec<Patches>, Vec<Tokens>) = (Vec::with_capacity(shape.images), Vec::with_capacity(shape.images));
        while patches.len() < shape.images {
            if self.cancel.is_set() {
                return Err(DataError::Stopped);
            }
            let outcome = self.outcomes.next().unwrap_or(Err(DataError::Stopped))?;
            let prepare_secs = outcome.prepare_secs;
            let prepared = self.accept(outcome, shape.max_num_patches)?;
            let mut statistics = self.statistics.lock().unwrap_or_else(PoisonError::into_inner);
            statistics.prepare_secs += prepare_secs;
            if let Some(Prepared { patches: image, texts: captions }) = prepared {
                statistics.examples += 1;
                statistics.image_tokens += image.grid.patches() as u64;
                statistics.truncated_texts += captions.iter().filter(|text| text.truncated).count() as u64;
                patches.push(image);
                texts.extend(captions);
            }
        }
        self.position.batch += 1;
        let images = PatchBatch::pack(&patches);
        let max_num_patches = match self.preparer.vision.geometry {
            polyglance::config::VisionGeometry::NaFlex { .. } => shape.max_num_patches,
            polyglance::config::VisionGeometry::Fixed { .. } => images.grids().first().map_or(0, |grid| grid.patches()),
        };
        Ok(Batch { images, texts, max_num_patches, position: self.position.clone() })
    }

    /// Counts one outcome, and gives it if it is good.
    fn accept(&mut self, outcome: Outcome, max_num_patches: usize) -> Result<Option<Prepared>, DataError> {
        let guessed = outcome.max_num_patches;
        let result = outcome.result.and_then(|(example, mut prepared)| {
            if guessed != max_num_patches {
                prepared.patches = self.preparer.patches(&example, max_num_patches)?;
                self.statistics.lock().unwrap_or_else(PoisonError::into_inner).recut += 1;
            }
            Ok(prepared)
        });
        self.position.drawn = outcome.ordinal + 1;
        let bad = result.as_ref().err();
        if let Some(bad) = bad {
            self.bad.fetch_add(1, Ordering::Relaxed);
            *self.statistics.lock().unwrap_or_else(PoisonError::into_inner).skipped.entry(bad.reason).or_default() += 1;
            tracing::debug!("left out {bad}");
        }
        self.advance(outcome.source, outcome.after, bad)?;
        Ok(result.ok())
    }

    /// Moves a source's position past one example and judges the source.
    fn advance(&mut self, source: usize, after: Place, bad: Option<&Bad>) -> Result<(), DataError> {
        let (Some(position), Some(watch)) = (self.position.sources.get_mut(source), self.sources.get_mut(source)) else {
            return Err(DataError::Stopped);
        };
        position.seen += 1;
        if let Some(bad) = bad {
            watch.list.add(bad);
            position.bad += 1;
            position.damaged += u64::from(bad.reason == Reason::DamagedShard);
        }
        let epoch_ends = after.block.epoch > position.place.block.epoch;
        let &mut SourcePosition { seen, bad, damaged, .. } = position;
        let (pattern, shards) = (watch.pattern.clone(), watch.shard_count);
        if damaged * limits::BAD_ONE_IN > shards {
            return Err(DataError::TooManyDamaged { pattern, damaged, shards, examples: watch.list.describe() });
        }
        if bad * limits::BAD_ONE_IN > seen && (epoch_ends || bad > limits::BAD_TOLERATED) {
            return Err(DataError::TooManyBad { pattern, bad, seen, examples: watch.list.describe() });
        }
        position.place = after;
        if epoch_ends {
            position.damaged = 0;
        }
        Ok(())
    }
}
