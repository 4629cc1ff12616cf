//! `pooling_attention`: the attention of the MAP head, in which one learned query per head looks at every token of a segment.

use crate::platform;

/// Shape of one `pooling_attention`: query `[heads·head_dim]` (the projected probe), kv `[tokens, 2·heads·head_dim]` (columns: all keys,
/// all values) → y `[segments, heads·head_dim]` and weights `[tokens, heads]`, which sum to 1 over each segment's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolingAttention {
    /// Heads.
    pub heads: usize,
    /// Size of a head; a multiple of 8.
    pub head_dim: usize,
}

impl PoolingAttention {
    /// Scale of the logits, head_dim^−½.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    /// CPU twin: weights = softmax(scale · k·query) over each segment, y = weightsᵀ·v.
    pub fn run(&self, offsets: &[u32], query: &[f32], kv: &[f32], y: &mut [f32], weights: &mut [f32]) {
        let width = self.heads * self.head_dim;
        let mut tasks = Vec::with_capacity(offsets.len());
        let mut rest = weights;
        for (bounds, y) in offsets.windows(2).zip(y.chunks_exact_mut(width)) {
            let (first, end) = (bounds[0] as usize, bounds[1] as usize);
            let (weights, after) = rest.split_at_mut((end - first) * self.heads);
            tasks.push((&kv[first * 2 * width..end * 2 * width], y, weights));
            rest = after;
        }
        platform::for_each(tasks, |(): &mut (), (kv, y, weights)| self.pool(query, kv, y, weights));
    }

    /// One segment.
    fn pool(&self, query: &[f32], kv: &[f32], y: &mut [f32], weights: &mut [f32]) {
        let width = self.heads * self.head_dim;
        let scale = self.scale();
        for (kv, weights) in kv.chunks_exact(2 * width).zip(weights.chunks_exact_mut(self.heads)) {
            let heads = kv.chunks_exact(self.head_dim).zip(query.chunks_exact(self.head_dim));
            for (weight, (key, query)) in weights.iter_mut().zip(heads) {
                *weight = scale * key.iter().zip(query).map(|(k, q)| k * q).sum::<f32>();
            }
        }
        for head in 0..self.heads {
            softmax(weights, head, self.heads);
        }
        y.fill(0.0);
        for (kv, weights) in kv.chunks_exact(2 * width).zip(weights.chunks_exact(self.heads)) {
            let values = kv[width..].chunks_exact(self.head_dim);
            for ((y, values), &weight) in y.chunks_exact_mut(self.head_dim).zip(values).zip(weights) {
                y.iter_mut().zip(values).for_each(|(y, value)| *y += weight * value);
            }
        }
    }
}

/// Softmax over one column of `[tokens, heads]`.
fn softmax(weights: &mut [f32], head: usize, heads: usize) {
    let column = |weights: &[f32]| weights.iter().skip(head).step_by(heads).copied().collect::<Vec<f32>>();
    let mut values = column(weights);
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = values.iter().sum();
    for (weight, value) in weights.iter_mut().skip(head).step_by(heads).zip(values) {
        *weight = value / sum;
    }
}
