//! How many patches and images each batch has (arXiv 2502.14786, section 2.4.2: one sequence length per batch).

use polyglance::limits::MAX_NUM_PATCHES;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::draw::weighted;
use crate::random::Stream;

/// How many images a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSize {
    /// This many.
    Images(usize),
    /// As many as fit into this many tokens if each image uses its whole budget; at least one.
    Tokens(usize),
}

/// One NaFlex budget that batches are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Most patches of an image.
    pub max_num_patches: usize,
    /// Batches are drawn in proportion to this.
    #[serde(default = "one")]
    pub weight: f64,
    /// Images of such a batch, in place of the general batch size: the paper halves batches of 1,024 patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Number of the first batch that may be drawn with it: long sequences can wait until the model has learnt from short ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The weight of what has none of its own.
pub(super) fn one() -> f64 {
    1.0
}

impl Budget {
    /// For batches of the general size, from the beginning.
    pub fn new(max_num_patches: usize) -> Self {
        Self { max_num_patches, weight: one(), images: None, from: 0 }
    }

    /// Images of such a batch, where `size` is the general batch size.
    pub fn images(&self, size: BatchSize) -> usize {
        match (self.images, size) {
            (Some(images), _) | (None, BatchSize::Images(images)) => images,
            (None, BatchSize::Tokens(tokens)) => (tokens / self.max_num_patches.max(1)).max(1),
        }
    }
}

/// What is wrong with the weights of some budgets.
///
/// # Errors
/// A sentence that says so.
pub(crate) fn check_budgets(budgets: &[Budget]) -> Result<(), String> {
    let weights = || budgets.iter().map(|budget| budget.weight);
    if weights().any(|weight| !weight.is_finite() || weight < 0.0) {
        return Err("weights of budgets are numbers of at least 0".to_owned());
    }
    if !budgets.iter().any(|budget| budget.from == 0 && budget.weight > 0.0) {
        return Err("the first batch has no budget: one with a weight above 0 must begin at batch 0".to_owned());
    }
    Ok(())
}

/// The expected share of each budget among the first `batches`.
pub(crate) fn shares(budgets: &[Budget], batches: u64) -> Vec<f64> {
    let mut bounds: Vec<u64> = budgets.iter().map(|budget| budget.from.min(batches)).chain([batches]).collect();
    bounds.sort_unstable();
    let mut shares = vec![0.0; budgets.len()];
    for span in bounds.windows(2).filter(|span| span[0] < span[1]) {
        let weights = || budgets.iter().map(|budget| if budget.from <= span[0] { budget.weight } else { 0.0 });
        let total: f64 = weights().sum();
        let length = (span[1] - span[0]) as f64 / batches as f64;
        shares.iter_mut().zip(weights()).for_each(|(share, weight)| *share += length * weight / total);
    }
    shares
}

/// Shape of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchShape {
    pub(super) max_num_patches: usize,
    pub(super) images: usize,
}

/// The shape of every batch, by its number.
#[derive(Clone)]
pub(super) struct Schedule {
    stream: Stream,
    shapes: Vec<BatchShape>,
    /// Of each shape, its weight and the first batch that may have it.
    weights: Vec<(f64, u64)>,
}

impl Schedule {
    /// Batches over `budgets`, of `size` images.
    pub(super) fn new(seed: u64, budgets: &[Budget], size: BatchSize) -> Result<Self, DataError> {
        let shape = |budget: &Budget| BatchShape { max_num_patches: budget.max_num_patches, images: budget.images(size) };
        let shapes: Vec<_> = budgets.iter().map(shape).collect();
        let weights: Vec<_> = budgets.iter().map(|budget| (budget.weight, budget.from)).collect();
        if shapes.iter().any(|shape| shape.images == 0) {
            return Err(DataError::Options("a batch of no images teaches nothing; its size must be at least 1".to_owned()));
        }
        if let Some(wrong) = shapes.iter().map(|shape| shape.max_num_patches).find(|patches| !(1..=MAX_NUM_PATCHES).contains(patches)) {
            return Err(DataError::Options(format!("a budget is {wrong} patches; it must be 1 to {MAX_NUM_PATCHES}")));
        }
        check_budgets(budgets).map_err(DataError::Options)?;
        Ok(Self { stream: Stream::new(seed, "data/budgets"), shapes, weights })
    }

    /// The shape of batch number `batch`.
    pub(super) fn shape(&self, batch: u64) -> BatchShape {
        let weights = self.weights.iter().map(|&(weight, from)| if from <= batch { weight } else { 0.0 });
        let drawn = weighted(weights, self.stream.uniform(batch)).unwrap_or_default();
        self.shapes.get(drawn).copied().unwrap_or(BatchShape { max_num_patches: 1, images: 1 })
    }
}

/// Guesses which batch an example will be in before it is known whether all examples before it are good.
///
/// Images must be cut to their batch's budget, which is known for certain only when the examples before are decoded. So threads cut by this
/// guess, and the few wrong ones are cut again. A guess never decides what a batch holds.
pub(super) struct Forecast {
    schedule: Schedule,
    batch: u64,
    /// Examples guessed for `batch` so far.
    filled: u64,
    /// Bad examples that the guess has taken into account.
    known_bad: u64,
}

impl Forecast {
    /// From the beginning of batch number `batch`.
    pub(super) fn new(schedule: Schedule, batch: u64) -> Self {
        Self { schedule, batch, filled: 0, known_bad: 0 }
    }

    /// The budget for the next example, after `bad` examples have proved bad since the start.
    pub(super) fn next(&mut self, bad: u64) -> usize {
        for _ in self.known_bad..bad {
            if self.filled == 0 && self.batch > 0 {
                self.batch -= 1;
                self.filled = self.schedule.shape(self.batch).images as u64;
            }
            self.filled = self.filled.saturating_sub(1);
        }
        self.known_bad = self.known_bad.max(bad);
        if self.filled >= self.schedule.shape(self.batch).images as u64 {
            (self.batch, self.filled) = (self.batch + 1, 0);
        }
        self.filled += 1;
        self.schedule.shape(self.batch).max_num_patches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(size: BatchSize) -> Schedule {
        let budget = |max_num_patches, images| Budget { images, ..Budget::new(max_num_patches) };
        Schedule::new(3, &[budget(128, None), budget(256, None), budget(1024, Some(2))], size).unwrap()
    }

    #[test]
    fn sizes_follow_from_the_budget() {
        let by_tokens = schedule(BatchSize::Tokens(1000));
        let shapes: std::collections::BTreeSet<_> =
            (0..100).map(|batch| by_tokens.shape(batch)).map(|shape| (shape.max_num_patches, shape.images)).collect();
        assert_eq!(shapes.into_iter().collect::<Vec<_>>(), [(128, 7), (256, 3), (1024, 2)]);
        assert_eq!(schedule(BatchSize::Images(5)).shape(0).images % 3, 2);
    }

    #[test]
    fn a_budget_waits_for_its_first_batch() {
        let budgets = [Budget { weight: 3.0, ..Budget::new(4) }, Budget { from: 600, ..Budget::new(9) }];
        let schedule = Schedule::new(5, &budgets, BatchSize::Images(1)).unwrap();
        let late: Vec<u64> = (0..1_000).filter(|&batch| schedule.shape(batch).max_num_patches == 9).collect();
        // A quarter of 400; four standard deviations of 8.7.
        assert!(late[0] >= 600 && late.len().abs_diff(100) < 35, "{late:?}");
        assert_eq!(shares(&budgets, 1_000), [0.9, 0.1]);
        assert_eq!(shares(&budgets, 300), [1.0, 0.0]);
        assert!(check_budgets(&budgets[1..]).unwrap_err().contains("batch 0"));
    }

    #[test]
    fn a_forecast_with_no_bad_example_is_exact_and_catches_up_after_one() {
        let schedule = schedule(BatchSize::Images(4));
        let exact: Vec<usize> =
            (0..20).flat_map(|batch| vec![schedule.shape(batch).max_num_patches; schedule.shape(batch).images]).collect();
        let mut forecast = Forecast::new(schedule.clone(), 0);
        let guessed: Vec<usize> = exact.iter().map(|_| forecast.next(0)).collect();
        assert_eq!(guessed, exact);
        // Of the first ten, five turn out to be bad: the eleventh is the sixth good one.
        let mut forecast = Forecast::new(schedule, 0);
        assert_eq!((0..10).map(|_| forecast.next(0)).collect::<Vec<_>>(), exact[..10]);
        assert_eq!((5..30).map(|_| forecast.next(5)).collect::<Vec<_>>(), exact[5..30]);
    }
}
