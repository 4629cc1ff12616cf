//! The batches of a recipe: opens its sources and starts the threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polyglance::config::VisionConfig;
use polyglance::image::Resampling;
use polyglance::platform::Stopwatch;
use polyglance::text::Tokenizer;
use serde::{Deserialize, Serialize};

use super::assemble::{Assembler, DataPosition, Outcome, SourcePosition, SourceWatch};
use super::blocks::{Examples, Order, Place, Taken};
use super::caption::CaptionChoice;
use super::example::Example;
use super::location::{self, Shard};
use super::mix::{Drawn, Mix};
use super::pool::{Pool, until_error};
use super::prepare::Preparer;
use super::schedule::{BatchSize, Budget, Forecast, Schedule, one};
use super::statistics::Statistics;
use super::{Batch, BatchSource, Cancel, DataError, HttpOptions};

/// One source of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceOptions {
    /// A tar file, a folder of them or of images with `.txt` or `.json` beside them, a glob, or an http(s) address; `{000..127}` and `{a,b}`
    /// stand for several.
    pub pattern: String,
    /// Examples are drawn in proportion to this.
    #[serde(default = "one")]
    pub weight: f64,
}

/// What decides the batches, and how they are made.
#[derive(Clone, Debug)]
pub struct DataOptions {
    /// Starting point of all randomness.
    pub seed: u64,
    /// Where examples come from.
    pub sources: Vec<SourceOptions>,
    /// Weights of caption languages; empty to use `.txt`.
    pub languages: BTreeMap<String, f64>,
    /// Captions per image.
    pub captions: usize,
    /// Images per batch.
    pub batch_size: BatchSize,
    /// NaFlex budgets. A fixed-resolution model has its own; leave them empty.
    pub budgets: Vec<Budget>,
    /// Examples of a source that are shuffled together; 1 keeps the order inside shards.
    pub shuffle_examples: usize,
    /// How images are resized.
    pub resampling: Resampling,
    /// Threads that decode. Batches do not depend on it.
    pub threads: usize,
    /// Batches made ahead.
    pub batches_ahead: usize,
    /// How patient downloads are.
    pub http: HttpOptions,
}

/// Batches made ahead by threads.
///
/// Dropping it stops the threads. One that waits for a silent server is waited for until [`HttpOptions::stall_timeout`].
///
/// Beside the batches it holds, per source, up to two blocks of [`DataOptions::shuffle_examples`] encoded examples or 256 MiB.
pub struct Loader {
    batches: Pool<Result<Batch, DataError>>,
    statistics: Arc<Mutex<Statistics>>,
    cancel: Cancel,
}

impl Loader {
    /// Opens the sources and starts reading from `position`, or from the beginning.
    ///
    /// # Errors
    /// Options that make no sense, a source that cannot be listed, or a position that belongs to other data.
    pub fn open(
        options: &DataOptions,
        vision: &VisionConfig,
        tokenizer: Arc<Tokenizer>,
        position: Option<&DataPosition>,
    ) -> Result<Self, DataError> {
        check(options)?;
        let shards = options.sources.iter().map(|source| location::list(&source.pattern)).collect::<Result<Vec<_>, _>>()?;
        let position = resume(options, &shards, position)?;
        let (schedule, cancel) = (schedule(options, vision)?, Cancel::default());
        let (bad, statistics) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Statistics::default())));
        let captions = CaptionChoice::new(options.seed, options.languages.clone(), options.captions);
        let preparer = Preparer { vision: *vision, resampling: options.resampling, tokenizer, captions };
        let sources = options.sources.iter().zip(&shards).map(|(source, shards)| SourceWatch::new(&source.pattern, shards.len())).collect();
        let feed = Feed {
            mix: mix(options, shards, &position, &cancel)?,
            forecast: Forecast::new(schedule.clone(), position.batch),
            bad: Arc::clone(&bad),
        };
        let assembler = Assembler {
            outcomes: decode_ahead(feed, preparer.clone(), options.threads)?,
            preparer,
            schedule,
            position,
            sources,
            bad,
            statistics: Arc::clone(&statistics),
            cancel: cancel.clone(),
        };
        Ok(Self { batches: assemble_ahead(assembler, options.batches_ahead)?, statistics, cancel })
    }

    /// Counts since it was opened, batches made ahead included.
    pub fn statistics(&self) -> Statistics {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl BatchSource for Loader {
    fn next(&mut self) -> Result<Batch, DataError> {
        let watch = Stopwatch::start();
        let batch = self.batches.next().unwrap_or(Err(DataError::Stopped));
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).wait_secs += watch.elapsed_secs();
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Before the pool waits for its thread, which may be in the middle of a large batch.
        self.cancel.set();
    }
}

fn decode_ahead(mut feed: Feed, preparer: Preparer, threads: usize) -> Result<Pool<Result<Outcome, DataError>>, DataError> {
    // Enough that no thread waits while one image takes several times as long as others.
    let ahead = 8 * threads.max(1);
    let work = move |job: Result<Job, DataError>| job.map(|job| job.run(&preparer));
    Pool::start("decode", threads, ahead, until_error(move || feed.next()), work).map_err(DataError::Threads)
}

fn assemble_ahead(mut assembler: Assembler, ahead: usize) -> Result<Pool<Result<Batch, DataError>>, DataError> {
    Pool::start("batches", 1, ahead, until_error(move || assembler.next()), |batch| batch).map_err(DataError::Threads)
}

/// Refuses impossible options.
fn check(options: &DataOptions) -> Result<(), DataError> {
    let refuse = |problem: &str| Err(DataError::Options(problem.to_owned()));
    let valid = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    let weights = || options.sources.iter().map(|source| source.weight);
    if !weights().chain(options.languages.values().copied()).all(|weight| valid(&weight)) {
        return refuse("weights of sources and languages must be numbers of at least 0");
    }
    if weights().sum::<f64>() == 0.0 {
        return refuse("a recipe needs at least one source of data with a weight above 0");
    }
    if options.captions == 0 {
        return refuse("captions is 0; every image needs at least one");
    }
    if options.shuffle_examples == 0 {
        return refuse("shuffle_examples is 0; 1 means no shuffling within shards");
    }
    Ok(())
}

fn schedule(options: &DataOptions, vision: &VisionConfig) -> Result<Schedule, DataError> {
    use polyglance::config::VisionGeometry::{Fixed, NaFlex};
    let side = vision.table_side();
    match (vision.geometry, options.budgets.is_empty()) {
        (NaFlex { .. }, true) => Err(DataError::Options("a NaFlex model needs at least one budget".to_owned())),
        (Fixed { .. }, false) => Err(DataError::Options("budgets are for NaFlex models; this model has one grid".to_owned())),
        (NaFlex { .. }, false) => Schedule::new(options.seed, &options.budgets, options.batch_size),
        (Fixed { .. }, true) => {
            let only = Budget::new(side * side);
            Schedule::new(options.seed, &[only], options.batch_size)
        }
    }
}

/// The position to start from, checked against the shards that are there now.
fn resume(options: &DataOptions, shards: &[Vec<Shard>], position: Option<&DataPosition>) -> Result<DataPosition, DataError> {
    let hashes: Vec<_> = shards.iter().map(|shards| hash(shards)).collect();
    let Some(position) = position else {
        let start = |shards| SourcePosition { shards, ..SourcePosition::default() };
        return Ok(DataPosition { sources: hashes.into_iter().map(start).collect(), ..DataPosition::default() });
    };
    if position.sources.len() != hashes.len() {
        let (was, is) = (position.sources.len(), hashes.len());
        return Err(DataError::Options(format!("the checkpoint was trained on {was} sources, the recipe has {is}")));
    }
    let mut known = options.sources.iter().zip(position.sources.iter().zip(hashes));
    match known.find(|(_, (then, now))| then.shards != *now) {
        Some((source, _)) => Err(DataError::Changed { pattern: source.pattern.clone() }),
        None => Ok(position.clone()),
    }
}

/// Of the shards' file names: a folder may move.
fn hash(shards: &[Shard]) -> u64 {
    let bytes = |shard: &Shard| (shard.file_name() + "/").into_bytes();
    shards.iter().flat_map(bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Starts to read every source from its place.
fn mix(options: &DataOptions, shards: Vec<Vec<Shard>>, position: &DataPosition, cancel: &Cancel) -> Result<Mix, DataError> {
    let places = position.sources.iter().map(|source| source.place);
    let start = |(source, (shards, place)): (usize, (Vec<Shard>, Place))| {
        let pattern = options.sources.get(source).map(|source| source.pattern.clone()).unwrap_or_default();
        let order = Order { seed: options.seed, source, pattern, block_examples: options.shuffle_examples };
        Examples::start(shards, order, place, options.http.clone(), cancel.clone())
    };
    let sources = shards.into_iter().zip(places).enumerate().map(start).collect::<Result<_, _>>()?;
    let weights = options.sources.iter().map(|source| source.weight).collect();
    Ok(Mix::new(options.seed, weights, sources, position.drawn))
}

/// Gives decoding threads their work.
struct Feed {
    mix: Mix,
    forecast: Forecast,
    /// Examples that proved bad since the loader was opened.
    bad: Arc<AtomicU64>,
}

impl Feed {
    fn next(&mut self) -> Result<Job, DataError> {
        let max_num_patches = self.forecast.next(self.bad.load(Ordering::Relaxed));
        Ok(Job { drawn: self.mix.next()?, max_num_patches })
    }
}

/// One example to decode.
struct Job {
    drawn: Drawn,
    max_num_patches: usize,
}

impl Job {
    fn run(self, preparer: &Preparer) -> Outcome {
        let Self { drawn: Drawn { ordinal, source, taken: Taken { example, after } }, max_num_patches } = self;
        let watch = Stopwatch::start();
        let prepare = |example: Example| preparer.prepare(&example, ordinal, max_num_patches).map(|prepared| (example, prepared));
        let result = example.and_then(prepare);
        Outcome { ordinal, source, after, max_num_patches, result, prepare_secs: watch.elapsed_secs() }
    }
}
