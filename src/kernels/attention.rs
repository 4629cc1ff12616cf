//! `attention`: bidirectional multi-head self-attention within each segment of a packed batch.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{simd, tile};
use crate::platform;

/// Shape of one `attention`: qkv `[tokens, 3·heads·head_dim]` (columns: all queries, all keys, all values) → y `[tokens, heads·head_dim]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Heads.
    pub heads: usize,
    /// Size of a head; a multiple of 8.
    pub head_dim: usize,
}

impl Attention {
    /// Scale of the logits, head_dim^−½.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    /// CPU twin: y = softmax(scale · q·kᵀ) · v per head, each segment by itself.
    pub fn run(&self, offsets: &[u32], qkv: &[f32], y: &mut [f32]) {
        platform::for_each(tasks(self, offsets, y), |scratch: &mut Scratch, task| {
            simd::dispatch(RunTask { shape: self, qkv, scratch, task });
        });
    }
}

/// One head of one segment.
struct Task<'a> {
    tokens: Range<usize>,
    head: usize,
    y: Vec<&'a mut [f32]>,
}

fn tasks<'a>(shape: &Attention, offsets: &[u32], y: &'a mut [f32]) -> Vec<Task<'a>> {
    let mut tasks = Vec::with_capacity(offsets.len() * shape.heads);
    let mut rows = y.chunks_exact_mut(shape.heads * shape.head_dim);
    for bounds in offsets.windows(2) {
        let tokens = bounds[0] as usize..bounds[1] as usize;
        let first_task = tasks.len();
        tasks.extend((0..shape.heads).map(|head| Task { tokens: tokens.clone(), head, y: Vec::with_capacity(tokens.len()) }));
        for row in rows.by_ref().take(tokens.len()) {
            for (task, part) in tasks[first_task..].iter_mut().zip(row.chunks_exact_mut(shape.head_dim)) {
                task.y.push(part);
            }
        }
    }
    tasks
}

/// Packed operands of one task, reused by the next on the same thread.
#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    queries: Vec<f32>,
    weights: Vec<f32>,
}

struct RunTask<'a> {
    shape: &'a Attention,
    qkv: &'a [f32],
    scratch: &'a mut Scratch,
    task: Task<'a>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    /// Works on panels of queries: logits, weights and results are kept transposed, `[keys][queries]` and `[head_dim][queries]`, so that a
    /// vector holds one value for each of several queries and the softmax needs no horizontal step.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, qkv, scratch, mut task } = self;
        let (dim, tokens, width) = (shape.head_dim, task.tokens.len(), tile::panel_width::<S>());
        let model_width = shape.heads * dim;
        let stride = 3 * model_width;
        let column = |part: usize| &qkv[task.tokens.start * stride + part * model_width + task.head * dim..];
        let (queries, keys, values) = (column(0), column(1), column(2));

        scratch.keys.resize(tokens * dim, 0.0);
        pack_keys::<S>(keys, stride, tokens, dim, &mut scratch.keys);
        scratch.values.resize(tokens * dim, 0.0);
        pack_values::<S>(values, stride, dim, &mut scratch.values);
        scratch.queries.resize(width * dim, 0.0);
        scratch.weights.resize(width * tokens, 0.0);

        let mut sums = [tile::zero(simd); tile::MAX_ROWS];
        for first in (0..tokens).step_by(width) {
            let count = width.min(tokens - first);
            tile::pack(&queries[first * stride..], stride, width, dim, shape.scale(), &mut scratch.queries, count);
            logits(simd, &scratch.keys, &scratch.queries, dim, tokens, &mut scratch.weights);
            let scale = softmax(simd, &mut scratch.weights);
            let mut d = 0;
            for height in tile::heights(dim, tile::max_rows::<S>()) {
                tile::multiply(simd, height, &scratch.values[d * tokens..(d + height) * tokens], &scratch.weights, &mut sums);
                for (i, sums) in sums[..height].iter().enumerate() {
                    let mut result = [0.0; MAX_PANEL];
                    tile::store(simd, [simd.mul_f32s(sums[0], scale[0]), simd.mul_f32s(sums[1], scale[1])], &mut result[..width]);
                    for (row, &value) in task.y[first..first + count].iter_mut().zip(&result) {
                        row[d + i] = value;
                    }
                }
                d += height;
            }
        }
    }
}

/// Widest panel of any instruction set: two vectors of 16.
const MAX_PANEL: usize = 32;

/// Keys as tiles: `[head_dim][tile]` for each tile of keys.
fn pack_keys<S: Simd>(keys: &[f32], stride: usize, tokens: usize, dim: usize, packed: &mut [f32]) {
    let mut first = 0;
    for height in tile::heights(tokens, tile::max_rows::<S>()) {
        let tile = &mut packed[first * dim..(first + height) * dim];
        tile::pack(&keys[first * stride..], stride, height, dim, 1.0, tile, height);
        first += height;
    }
}

/// Values as tiles: `[tokens][tile]` for each tile of the head's dimensions.
fn pack_values<S: Simd>(values: &[f32], stride: usize, dim: usize, packed: &mut [f32]) {
    let tokens = packed.len() / dim;
    let mut first = 0;
    for height in tile::heights(dim, tile::max_rows::<S>()) {
        let tile = packed[first * tokens..(first + height) * tokens].chunks_exact_mut(height);
        for (slot, row) in tile.zip(values.chunks(stride)) {
            slot.copy_from_slice(&row[first..first + height]);
        }
        first += height;
    }
}

/// logits\[key\]\[query\] = key · query.
#[inline(always)]
fn logits<S: Simd>(simd: S, keys: &[f32], queries: &[f32], dim: usize, tokens: usize, logits: &mut [f32]) {
    let width = tile::panel_width::<S>();
    let mut sums = [tile::zero(simd); tile::MAX_ROWS];
    let mut first = 0;
    for height in tile::heights(tokens, tile::max_rows::<S>()) {
        tile::multiply(simd, height, &keys[first * dim..(first + height) * dim], queries, &mut sums);
        for (logits, &sums) in logits[first * width..].chunks_exact_mut(width).take(height).zip(&sums) {
            tile::store(simd, sums, logits);
        }
        first += height;
    }
}

/// Replaces logits by exp(logit − max) over the keys of each query and returns the factors that make each query's sum 1.
#[inline(always)]
fn softmax<S: Simd>(simd: S, logits: &mut [f32]) -> tile::Vectors<S> {
    let rows = S::as_mut_simd_f32s(logits).0.as_chunks_mut::<2>().0;
    let mut max = [simd.splat_f32s(f32::NEG_INFINITY); 2];
    for row in rows.iter() {
        max = [simd.max_f32s(max[0], row[0]), simd.max_f32s(max[1], row[1])];
    }
    let mut sum = [simd.splat_f32s(0.0); 2];
    for row in rows.iter_mut() {
        *row = [simd::exp(simd, simd.sub_f32s(row[0], max[0])), simd::exp(simd, simd.sub_f32s(row[1], max[1]))];
        sum = tile::add(simd, sum, *row);
    }
    let one = simd.splat_f32s(1.0);
    [simd.div_f32s(one, sum[0]), simd.div_f32s(one, sum[1])]
}
