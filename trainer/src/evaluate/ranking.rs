//! Where the right answers rank: the one computation under classification and retrieval.

use serde::Serialize;

use super::interval::{Estimate, Group};
use super::{EvaluationError, parallel_map};
use crate::random::Stream;

/// Embeddings, row after row. They need not come from a model: raw pixels are judged in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Embeddings<'a> {
    /// `values` is `[rows, dim]`.
    ///
    /// # Errors
    /// No whole number of rows, or a value that is not finite.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self, EvaluationError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(EvaluationError::Input(format!("{} values are not rows of {dim}", values.len())));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(EvaluationError::Input(format!(
                "row {} of the embeddings holds {}",
                at / dim,
                values.get(at).copied().unwrap_or(0.0)
            )));
        }
        Ok(Self { values, dim })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The rows at `indices`.
    pub(super) fn select(&self, indices: &[usize]) -> Selected {
        Selected { values: indices.iter().flat_map(|&index| self.row(index)).copied().collect(), dim: self.dim }
    }

    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        self.values.get(index * self.dim..(index + 1) * self.dim).unwrap_or_default()
    }
}

/// Some rows of [`Embeddings`], copied.
pub(super) struct Selected {
    values: Vec<f32>,
    dim: usize,
}

impl Selected {
    pub(super) fn borrow(&self) -> Embeddings<'_> {
        Embeddings { values: &self.values, dim: self.dim }
    }
}

/// For each query, how many wrong candidates are at least as similar as its best right one: 0 if a right one is first.
///
/// Similarity is the dot product. Ties count against the query: a model that embeds everything alike ranks last, not first.
///
/// # Errors
/// Embeddings of different sizes, or a query without a right answer among the candidates.
pub fn ranks(queries: Embeddings<'_>, candidates: Embeddings<'_>, right: &[Vec<usize>]) -> Result<Vec<usize>, EvaluationError> {
    if queries.dim != candidates.dim || queries.rows() != right.len() {
        let (q, c) = (queries, candidates);
        let problem =
            format!("{} queries of {}, {} answers, {} candidates of {} do not fit together", q.rows(), q.dim, right.len(), c.rows(), c.dim);
        return Err(EvaluationError::Input(problem));
    }
    if let Some(query) = right.iter().position(|right| right.is_empty() || right.iter().any(|&index| index >= candidates.rows())) {
        return Err(EvaluationError::Input(format!("query {query} has no right answer among the candidates")));
    }
    let queries: Vec<_> = right.iter().enumerate().map(|(query, right)| (queries.row(query), right)).collect();
    Ok(parallel_map(&queries, |(query, right)| {
        let similarities: Vec<f64> = (0..candidates.rows()).map(|index| dot(query, candidates.row(index))).collect();
        let best = right.iter().filter_map(|&index| similarities.get(index)).copied().fold(f64::NEG_INFINITY, f64::max);
        similarities.iter().enumerate().filter(|(index, similarity)| **similarity >= best && !right.contains(index)).count()
    }))
}

/// In f64, so that equal embeddings tie whatever stands around them.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Shares of queries with a right answer among the first 1, 5 and 10.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// A right answer is first.
    pub at_1: Estimate,
    /// One is among the first five.
    pub at_5: Estimate,
    /// One is among the first ten.
    pub at_10: Estimate,
    /// What guessing would reach, in the same order.
    pub chance: [f64; 3],
}

impl Recall {
    /// From the ranks of queries. `groups[i]` is what query `i` belongs to; queries of one group, such as the captions of an image, may depend
    /// on each other. `right` has each query's right answers among `candidates`.
    pub(super) fn new(ranks: &[usize], groups: &[usize], right: &[Vec<usize>], candidates: usize, stream: Stream) -> Self {
        let at = |k: usize| share(&ranks.iter().map(|&rank| rank < k).collect::<Vec<_>>(), groups, stream);
        let chance = |k: usize| right.iter().map(|right| chance(right.len(), candidates, k)).sum::<f64>() / right.len().max(1) as f64;
        Self { at_1: at(1), at_5: at(5), at_10: at(10), chance: [1, 5, 10].map(chance) }
    }
}

/// A share of hits: Wilson's interval where every hit has a group of its own, else a bootstrap over groups.
pub(super) fn share(hits: &[bool], groups: &[usize], stream: Stream) -> Estimate {
    let mut sums = std::collections::BTreeMap::<usize, Group>::new();
    for (&hit, &group) in hits.iter().zip(groups) {
        let group = sums.entry(group).or_default();
        *group = Group { sum: group.sum + f64::from(u8::from(hit)), count: group.count + 1.0 };
    }
    if sums.len() == hits.len() {
        return Estimate::wilson(hits.iter().filter(|&&hit| hit).count(), hits.len());
    }
    Estimate::over_groups(&sums.into_values().collect::<Vec<_>>(), stream)
}

/// Probability that at least one of `right` among `candidates` is in a random choice of `k`.
fn chance(right: usize, candidates: usize, k: usize) -> f64 {
    let miss = |i: usize| (candidates - right).saturating_sub(i) as f64 / (candidates - i) as f64;
    1.0 - (0..k.min(candidates)).map(miss).product::<f64>()
}
