//! Groups items so that one batch fills the device without passing its limits.

/// Collects items, in order, until one more would take the batch past its token budget.
///
/// Batches are packed, never padded, so any mix of sizes may share one. An item larger than the whole budget makes a batch alone.
#[derive(Debug)]
pub struct Batcher<T> {
    budget: usize,
    tokens: usize,
    waiting: Vec<T>,
}

impl<T> Batcher<T> {
    /// A batcher for batches of at most `token_budget` tokens.
    pub fn new(token_budget: usize) -> Self {
        Self { budget: token_budget, tokens: 0, waiting: Vec::new() }
    }

    /// Changes the budget, for what is added from now on.
    pub fn set_budget(&mut self, token_budget: usize) {
        self.budget = token_budget;
    }

    /// Adds an item of `tokens` tokens. Returns the batch before it if that is full.
    pub fn push(&mut self, item: T, tokens: usize) -> Option<Vec<T>> {
        let full = self.tokens + tokens > self.budget;
        let batch = if full { self.take() } else { None };
        self.tokens += tokens;
        self.waiting.push(item);
        batch
    }

    /// Returns the items still waiting, if any: the last batch.
    pub fn take(&mut self) -> Option<Vec<T>> {
        self.tokens = 0;
        let batch = std::mem::take(&mut self.waiting);
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(budget: usize, sizes: &[usize]) -> Vec<Vec<usize>> {
        let mut batcher = Batcher::new(budget);
        let mut batches: Vec<_> = sizes.iter().filter_map(|&size| batcher.push(size, size)).collect();
        batches.extend(batcher.take());
        assert!(batcher.take().is_none());
        batches
    }

    #[test]
    fn a_batch_is_as_full_as_its_budget_allows() {
        assert_eq!(batches(10, &[4, 6, 1, 9, 5, 5, 1]), [vec![4, 6], vec![1, 9], vec![5, 5], vec![1]]);
    }

    #[test]
    fn an_item_past_the_budget_goes_alone() {
        assert_eq!(batches(10, &[1, 11, 1, 2]), [vec![1], vec![11], vec![1, 2]]);
        assert_eq!(batches(0, &[1, 2]), [vec![1], vec![2]]);
    }

    #[test]
    fn no_item_is_no_batch() {
        assert!(batches(10, &[]).is_empty());
    }
}
