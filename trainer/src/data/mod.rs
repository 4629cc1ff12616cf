//! Training batches from image-text pairs: shards on disk or on web servers, mixed, shuffled, decoded in parallel.
//!
//! ```text
//! shards ─ blocks (order, shuffle) ┐
//! shards ─ blocks                  ├─ mix ─ prepare (threads) ─ assemble ─ Batch
//! ```
//!
//! Everything random follows from the seed and counters, so a [`DataPosition`] of a few numbers per source is all a checkpoint needs to go
//! on with the very same batches, on any number of threads. Nothing here knows what computes with the batches.

mod assemble;
mod blocks;
mod caption;
mod draw;
mod example;
mod http;
pub mod limits;
mod loader;
mod location;
mod mix;
mod pool;
mod prepare;
mod schedule;
mod statistics;
mod tar;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polyglance::image::PatchBatch;
use polyglance::text::Tokens;

pub use assemble::DataPosition;
pub use caption::{Metadata, Region};
pub use example::{Bad, Example, Reason};
pub use http::HttpOptions;
pub use loader::{DataOptions, Loader, SourceOptions};
pub use location::examples;
pub use schedule::{BatchSize, Budget};
pub(crate) use schedule::{check_budgets, shares};
pub use statistics::Statistics;

/// One training batch, on the host.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Packed patches, grids and offsets, never padded.
    pub images: PatchBatch,
    /// Equally many for each image, in the order of the images.
    pub texts: Vec<Tokens>,
    /// The budget drawn for this batch; the patches of the one grid for a fixed-resolution model.
    pub max_num_patches: usize,
    /// Where to resume to get the next batch.
    pub position: DataPosition,
}

/// Where batches come from.
pub trait BatchSource: Send {
    /// The next batch.
    ///
    /// # Errors
    /// What makes further batches impossible or worthless; the source is used up then.
    fn next(&mut self) -> Result<Batch, DataError>;
}

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A pattern that cannot be understood or stands for nothing.
    #[error("data {pattern:?}: {problem}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An option that makes no sense.
    #[error("{0}")]
    Options(String),
    /// A shard or folder that cannot be read.
    #[error("{name} cannot be read: {source}")]
    Read {
        /// The file, folder or address.
        name: String,
        /// The system's or server's words.
        source: io::Error,
    },
    /// Not one example in a whole epoch.
    #[error("data {pattern:?} holds no examples; each needs an image and a .txt or .json of the same name next to it")]
    Empty {
        /// The source.
        pattern: String,
    },
    /// More bad examples than a sound source has.
    #[error("data {pattern:?}: {bad} of {seen} examples are bad, more than 1 in {}: {examples}", limits::BAD_ONE_IN)]
    TooManyBad {
        /// The source.
        pattern: String,
        /// Bad examples so far.
        bad: u64,
        /// All examples so far.
        seen: u64,
        /// Counts by reason, and a few of the bad examples by name.
        examples: String,
    },
    /// More damaged shards than a sound source has.
    #[error("data {pattern:?}: {damaged} of {shards} shards are damaged, more than 1 in {}: {examples}", limits::BAD_ONE_IN)]
    TooManyDamaged {
        /// The source.
        pattern: String,
        /// Damaged shards in this epoch.
        damaged: u64,
        /// Shards of the source.
        shards: u64,
        /// Counts by reason, and a few of the damaged shards by name.
        examples: String,
    },
    /// A position that belongs to other data.
    #[error("data {pattern:?} is not what it was when the checkpoint was written; restore it, or start a new run with --init")]
    Changed {
        /// The source.
        pattern: String,
    },
    /// The system refuses a thread.
    #[error("a thread for reading data cannot be started: {0}")]
    Threads(io::Error),
    /// Asked again after an error, or a thread died.
    #[error("reading data has stopped; the first error says why")]
    Stopped,
}

/// Tells readers that nobody waits for them any more.
#[derive(Clone, Debug, Default)]
struct Cancel(Arc<AtomicBool>);

impl Cancel {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, in short steps so that a cancellation is noticed.
    fn sleep(&self, duration: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        let mut left = duration;
        while !left.is_zero() && !self.is_set() {
            std::thread::sleep(left.min(STEP));
            left = left.saturating_sub(STEP);
        }
    }
}
