//! How sure a measured share is: 95 % intervals.

use serde::Serialize;

use super::EvaluationError;
use crate::random::Stream;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of a bootstrap: the ends of its interval are then off by a few hundredths of its width.
const RESAMPLES: u64 = 2_000;

/// A number and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The measured value.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// A share of independent trials, with Wilson's score interval (1927).
    pub fn wilson(successes: usize, trials: usize) -> Self {
        let (n, share) = (trials as f64, successes as f64 / trials.max(1) as f64);
        if trials == 0 {
            return Self { value: f64::NAN, low: 0.0, high: 1.0 };
        }
        let center = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        // Rounding must not push an end past the value where they coincide.
        Self { value: share, low: (center - half).clamp(0.0, share), high: (center + half).clamp(share, 1.0) }
    }

    /// A ratio of sums over independent groups, such as the hits among the captions of each image, with a percentile bootstrap over the
    /// groups (Efron 1979): outcomes within a group may depend on each other.
    pub fn over_groups(groups: &[Group], stream: Stream) -> Self {
        let ratio = |groups: &mut dyn Iterator<Item = &Group>| {
            let (sum, count) = groups.fold((0.0, 0.0), |(sum, count), group| (sum + group.sum, count + group.count));
            sum / count
        };
        let value = ratio(&mut groups.iter());
        let n = groups.len() as u64;
        let resample = |round: u64| {
            let mut drawn = (0..n).filter_map(|i| groups.get(stream.below(round * n + i, n) as usize));
            ratio(&mut drawn)
        };
        let mut ratios: Vec<f64> = (0..RESAMPLES).map(resample).filter(|ratio| ratio.is_finite()).collect();
        ratios.sort_by(f64::total_cmp);
        let quantile = |share: f64| ratios.get((share * (ratios.len().saturating_sub(1)) as f64).round() as usize).copied();
        Self { value, low: quantile(0.025).unwrap_or(value), high: quantile(0.975).unwrap_or(value) }
    }

    /// The mean of `a − b`, measured on the same things, with a paired bootstrap over them.
    ///
    /// # Errors
    /// Different numbers of things, or none.
    pub fn paired_difference(a: &[f64], b: &[f64], stream: Stream) -> Result<Self, EvaluationError> {
        if a.len() != b.len() || a.is_empty() {
            return Err(EvaluationError::Input(format!("{} and {} results cannot be paired", a.len(), b.len())));
        }
        let groups: Vec<_> = a.iter().zip(b).map(|(a, b)| Group { sum: a - b, count: 1.0 }).collect();
        Ok(Self::over_groups(&groups, stream))
    }

    /// Whether the whole interval is above zero.
    pub fn is_positive(&self) -> bool {
        self.low > 0.0
    }
}

/// What one independent group adds to a ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Group {
    /// To the numerator.
    pub sum: f64,
    /// To the denominator.
    pub count: f64,
}

/// Probability of a difference at least as large between two equally good methods, from the things that only the first or only the
/// second got right (McNemar's exact test, two-sided).
pub fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    let (n, smaller) = (only_first + only_second, only_first.min(only_second));
    // Binomial terms of p = 1/2, each from the one before, in logarithms: 2⁻ⁿ alone would underflow.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=smaller {
        tail += term.exp();
        term += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}
