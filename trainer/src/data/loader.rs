//! The batches of a recipe: opens its sources and starts the threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polyglance::config::VisionConfig;
use polyglance::image::Resampling;
use polyglance::platform::Stopwatch;
use polyglance::text::Tokenizer;

use super::assemble::{Assembler, DataPosition, Outcome, SourcePosition, SourceWatch};
use super::blocks::{Examples, Order, Place, Taken};
use super::caption::CaptionChoice;
use super::example::Example;
use super::location::{self, Shard};
use super::mix::{Drawn, Mix};
use super::pool::Pool;
use super::prepare::Preparer;
use super::schedule::{BatchSize, Budget, Forecast, Schedule};
use super::statistics::{BadList, Statistics};
use super::{Batch, BatchSource, Cancel, DataError, HttpOptions};

/// One source of examples.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOptions {
    /// A tar file, a folder of them or of images with `.txt` or `.json` beside them, a glob, or an http(s) address; `{000..127}` and `{a,b}`
    /// stand for several.
    pub pattern: String,
    /// Examples are drawn in proportion to this.
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
        let weights = check(options)?;
        let shards = options.sources.iter().map(|source| location::list(&source.pattern)).collect::<Result<Vec<_>, _>>()?;
        let position = resume(options, &shards, position)?;
        let cancel = Cancel::default();
        let (schedule, statistics) = (schedule(options, vision)?, Arc::new(Mutex::new(Statistics::default())));
        let captions = CaptionChoice::new(options.seed, options.languages.clone());
        let preparer = Preparer { vision: *vision, resampling: options.resampling, tokenizer, captions };
        let watch = |(source, shards): (&SourceOptions, &Vec<Shard>)| SourceWatch {
            pattern: source.pattern.clone(),
            shard_count: shards.len() as u64,
            list: BadList::default(),
        };
        let watches = options.sources.iter().zip(&shards).map(watch).collect();
        let examples = start_sources(options, shards, &position, &cancel)?;
        let bad = Arc::new(AtomicU64::new(0));
        let mut feed = Feed {
            mix: Mix::new(options.seed, weights, examples, position.drawn),
            forecast: Forecast::new(schedule.clone(), position.batch),
            bad: Arc::clone(&bad),
            failed: false,
        };
        let work = {
            let preparer = preparer.clone();
            move |job: Result<Job, DataError>| job.map(|job| job.run(&preparer))
        };
        // Enough that no thread waits while one image takes several times as long as others.
        let ahead = 8 * options.threads.max(1);
        let outcomes = Pool::start("decode", options.threads, ahead, move || feed.next(), work).map_err(DataError::Threads)?;
        let mut assembler = Assembler {
            outcomes,
            preparer,
            schedule,
            position,
            sources: watches,
            bad,
            statistics: Arc::clone(&statistics),
            cancel: cancel.clone(),
        };
        let mut failed = false;
        let feed = move || {
            let batch = (!failed).then(|| assembler.next())?;
            failed = batch.is_err();
            Some(batch)
        };
        let batches = Pool::start("batches", 1, options.batches_ahead, feed, |batch| batch).map_err(DataError::Threads)?;
        Ok(Self { batches, statistics, cancel })
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

/// Refuses impossible options; the weights of the sources.
fn check(options: &DataOptions) -> Result<Vec<f64>, DataError> {
    let refuse = |problem: &str| Err(DataError::Options(problem.to_owned()));
    let weights: Vec<_> = options.sources.iter().map(|source| source.weight).collect();
    if weights.is_empty() {
        return refuse("a recipe needs at least one source of data");
    }
    let valid = |weight: &f64| weight.is_finite() && *weight > 0.0;
    if !weights.iter().all(valid) || !options.languages.values().all(valid) {
        return refuse("weights of sources and languages must be positive numbers; leave out what should not be used");
    }
    if options.shuffle_examples == 0 {
        return refuse("shuffle_examples is 0; 1 means no shuffling within shards");
    }
    Ok(weights)
}

fn schedule(options: &DataOptions, vision: &VisionConfig) -> Result<Schedule, DataError> {
    use polyglance::config::VisionGeometry::{Fixed, NaFlex};
    let side = vision.table_side();
    match (vision.geometry, options.budgets.is_empty()) {
        (NaFlex { .. }, true) => Err(DataError::Options("a NaFlex model needs at least one budget".to_owned())),
        (Fixed { .. }, false) => Err(DataError::Options("budgets are for NaFlex models; this model has one grid".to_owned())),
        (NaFlex { .. }, false) => Schedule::new(options.seed, &options.budgets, options.batch_size),
        (Fixed { .. }, true) => {
            let only = Budget { max_num_patches: side * side, weight: 1.0, images: None };
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

fn start_sources(
    options: &DataOptions,
    shards: Vec<Vec<Shard>>,
    position: &DataPosition,
    cancel: &Cancel,
) -> Result<Vec<Examples>, DataError> {
    let places = position.sources.iter().map(|source| source.place);
    let start = |(source, (shards, place)): (usize, (Vec<Shard>, Place))| {
        let pattern = options.sources.get(source).map(|source| source.pattern.clone()).unwrap_or_default();
        let order = Order { seed: options.seed, source, pattern, block_examples: options.shuffle_examples };
        Examples::start(shards, order, place, options.http.clone(), cancel.clone())
    };
    shards.into_iter().zip(places).enumerate().map(start).collect()
}

/// Gives decoding threads their work.
struct Feed {
    mix: Mix,
    forecast: Forecast,
    bad: Arc<AtomicU64>,
    failed: bool,
}

impl Feed {
    fn next(&mut self) -> Option<Result<Job, DataError>> {
        if self.failed {
            return None;
        }
        let max_num_patches = self.forecast.next(self.bad.load(Ordering::Relaxed));
        let job = self.mix.next().map(|drawn| Job { drawn, max_num_patches });
        self.failed = job.is_err();
        Some(job)
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
