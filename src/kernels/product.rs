//! Products of two matrices that are both data. An encoder needs none: its right sides are weights, packed once ([`Gemm`](super::Gemm)).
//! Training does: a weight changes every step, and its gradient multiplies two batches.

use std::ops::Range;

use super::gemm::{Epilogue, RunTask, block_columns, block_rows, tasks};
use super::{simd, tile};
use crate::platform;

/// A matrix `[rows, k]` in a slice, as it is or as its transpose.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    values: &'a [f32],
    stride: usize,
    transposed: bool,
}

impl<'a> Operand<'a> {
    /// Stored as `[rows, k]`, its rows `stride` apart.
    pub fn rows(values: &'a [f32], stride: usize) -> Self {
        Self { values, stride, transposed: false }
    }

    /// Stored as `[k, rows]`, the stored rows `stride` apart.
    pub fn columns(values: &'a [f32], stride: usize) -> Self {
        Self { values, stride, transposed: true }
    }

    /// Packs `count` rows from `first` on, restricted to `k`, as `[k][height]`; slots beyond `count` keep what they hold.
    fn pack(&self, first: usize, count: usize, k: Range<usize>, height: usize, packed: &mut [f32]) {
        if self.transposed {
            let rows = self.values[k.start * self.stride..].chunks(self.stride);
            for (slot, row) in packed.chunks_exact_mut(height).zip(rows) {
                slot[..count].copy_from_slice(&row[first..first + count]);
            }
        } else {
            tile::pack(&self.values[first * self.stride + k.start..], self.stride, height, k.len(), 1.0, packed, count);
        }
    }

    /// Packs rows as tiles, one after the other.
    fn pack_tiles(&self, rows: Range<usize>, k: Range<usize>, max_rows: usize, mut packed: &mut [f32]) {
        let mut first = rows.start;
        for height in tile::heights(rows.len(), max_rows) {
            let (tile, rest) = packed.split_at_mut(height * k.len());
            self.pack(first, height, k.clone(), height, tile);
            (first, packed) = (first + height, rest);
        }
    }
}

/// Buffers that successive products reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    tiles: Vec<f32>,
    panels: Vec<f32>,
    zeros: Vec<f32>,
}

/// Summed values per pass: a panel of this length stays in the second-level cache.
const K_BLOCK: usize = 512;

/// y = a·bᵀ on all threads, with a `[m, k]`, b `[n, k]` and y `[m, n]`; `sizes` is `[m, n, k]`.
pub fn product(a: Operand<'_>, b: Operand<'_>, sizes: [usize; 3], y: &mut [f32], scratch: &mut Scratch) {
    let [m, n, k] = sizes;
    if y.is_empty() || k == 0 {
        return y.fill(0.0);
    }
    let geometry = tile::geometry();
    let (rows, width) = (block_rows(geometry), geometry.panel_width);
    scratch.zeros.resize(n, 0.0);
    for first in (0..k).step_by(K_BLOCK) {
        let pass = first..(first + K_BLOCK).min(k);
        let length = pass.len();
        let Scratch { tiles, panels, zeros } = scratch;
        tiles.resize(m * length, 0.0);
        platform::for_each_chunk(tiles, rows * length, |block, tiles| {
            let first = block * rows;
            a.pack_tiles(first..first + tiles.len() / length, pass.clone(), geometry.max_rows, tiles);
        });
        panels.resize(n.next_multiple_of(width) * length, 0.0);
        platform::for_each_chunk(panels, width * length, |panel, packed| {
            let first = panel * width;
            b.pack(first, width.min(n - first), pass.clone(), width, packed);
        });
        let epilogue = if first == 0 { Epilogue::Store } else { Epilogue::Accumulate };
        platform::for_each(tasks(y, n, rows, block_columns(geometry, length)), |(): &mut (), task| {
            simd::dispatch(RunTask { epilogue, k: length, packed: tiles, panels, bias: zeros, task });
        });
    }
}
