//! Groups images so that one batch fills the device without passing its limits.

use crate::image::Patches;

/// Collects images, in order, until one more would take the batch past its token budget.
///
/// Batches are packed, never padded, so any mix of grids may share one. An image larger than the whole budget makes a batch alone.
#[derive(Debug)]
pub struct Batcher {
    budget: usize,
    tokens: usize,
    waiting: Vec<Patches>,
}

impl Batcher {
    /// A batcher for batches of at most `token_budget` patches.
    pub fn new(token_budget: usize) -> Self {
        Self { budget: token_budget, tokens: 0, waiting: Vec::new() }
    }

    /// Adds an image. Returns the batch before it once that is full.
    pub fn push(&mut self, patches: Patches) -> Option<Vec<Patches>> {
        let tokens = patches.grid.patches();
        let full = !self.waiting.is_empty() && self.tokens + tokens > self.budget;
        let batch = if full { self.take() } else { None };
        self.tokens += tokens;
        self.waiting.push(patches);
        batch
    }

    /// Returns the images still waiting, if any: the last batch.
    pub fn take(&mut self) -> Option<Vec<Patches>> {
        self.tokens = 0;
        let batch = std::mem::take(&mut self.waiting);
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Grid;

    fn batches(budget: usize, sizes: &[usize]) -> Vec<Vec<usize>> {
        let mut batcher = Batcher::new(budget);
        let image = |&cols: &usize| Patches { grid: Grid { rows: 1, cols }, values: Vec::new() };
        let mut batches: Vec<_> = sizes.iter().map(image).filter_map(|image| batcher.push(image)).collect();
        batches.extend(batcher.take());
        assert!(batcher.take().is_none());
        batches.iter().map(|batch| batch.iter().map(|image| image.grid.cols).collect()).collect()
    }

    #[test]
    fn a_batch_is_as_full_as_its_budget_allows() {
        assert_eq!(batches(10, &[4, 6, 1, 9, 5, 5, 1]), [vec![4, 6], vec![1, 9], vec![5, 5], vec![1]]);
    }

    #[test]
    fn an_image_past_the_budget_goes_alone() {
        assert_eq!(batches(10, &[1, 11, 1, 2]), [vec![1], vec![11], vec![1, 2]]);
        assert_eq!(batches(0, &[1, 2]), [vec![1], vec![2]]);
    }

    #[test]
    fn no_image_is_no_batch() {
        assert!(batches(10, &[]).is_empty());
    }
}
