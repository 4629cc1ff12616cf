//! A scene's own source of random numbers.

use crate::random::Stream;

/// Random numbers one after the other, from a named stream: equal names under equal seeds give equal numbers, whatever other scenes drew.
pub(super) struct Draw {
    stream: Stream,
    next: u64,
}

impl Draw {
    /// Starts at the first number of the stream.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        Self { stream: Stream::new(seed, name), next: 0 }
    }

    /// Uniform on 0 ≤ u < 1.
    pub(super) fn uniform(&mut self) -> f32 {
        self.next += 1;
        self.stream.uniform(self.next)
    }

    /// Uniform on low ≤ u < high.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in the logarithm: as often between 1 and 2 as between 2 and 4.
    pub(super) fn log_between(&mut self, low: f32, high: f32) -> f32 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// A whole number below `count`; 0 where there is nothing to choose from.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f32) as usize).min(count.saturating_sub(1))
    }

    /// Whether an event of this probability happens.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// One of several; the first where rounding would choose none.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    /// An index, each as likely as its share of the weights.
    pub(super) fn weighted(&mut self, weights: &[f32]) -> usize {
        let mut rest = self.uniform() * weights.iter().sum::<f32>();
        weights
            .iter()
            .position(|weight| {
                rest -= weight;
                rest < 0.0
            })
            .unwrap_or(0)
    }
}
