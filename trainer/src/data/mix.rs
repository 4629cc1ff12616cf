//! Several sources as one, in proportion to their weights.

use super::DataError;
use super::blocks::{Examples, Taken};
use super::draw::weighted;
use crate::random::Stream;

/// An example with its place in the run.
pub(super) struct Drawn {
    /// How many were drawn before it in the whole run.
    pub(super) ordinal: u64,
    /// Index of its source.
    pub(super) source: usize,
    pub(super) taken: Taken,
}

/// Draws a source for each example, then that source's next.
pub(super) struct Mix {
    stream: Stream,
    weights: Vec<f64>,
    sources: Vec<Examples>,
    ordinal: u64,
}

impl Mix {
    /// Goes on after `ordinal` examples; each source stands at its own place.
    pub(super) fn new(seed: u64, weights: Vec<f64>, sources: Vec<Examples>, ordinal: u64) -> Self {
        Self { stream: Stream::new(seed, "data/mix"), weights, sources, ordinal }
    }

    /// The next example of the run.
    pub(super) fn next(&mut self) -> Result<Drawn, DataError> {
        let ordinal = self.ordinal;
        let source = weighted(self.weights.iter().copied(), self.stream.uniform(ordinal)).unwrap_or_default();
        let taken = self.sources.get_mut(source).ok_or(DataError::Stopped)?.next()?;
        self.ordinal += 1;
        Ok(Drawn { ordinal, source, taken })
    }
}
