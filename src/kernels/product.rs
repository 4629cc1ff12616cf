//! Products of two matrices that are both data. An encoder needs none: its right sides are weights, packed once ([`Gemm`](super::Gemm)).
//! Training does: a weight changes every step, and its gradient multiplies two batches.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::gemm::block_rows;
use super::{simd, tile};
use crate::platform::for_each_chunk;

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
                copy(&row[first..first + count], &mut slot[..count]);
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

    /// Packs rows as panels of `width`, one after the other; the last one may be partly empty.
    fn pack_panels(&self, rows: Range<usize>, k: Range<usize>, width: usize, packed: &mut [f32]) {
        for (panel, packed) in packed.chunks_exact_mut(width * k.len()).enumerate() {
            let first = rows.start + panel * width;
            self.pack(first, width.min(rows.end - first), k.clone(), width, packed);
        }
    }
}

/// A dozen values or a few more: a call of `memcpy` would take longer than the copying.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<4>(), to.as_chunks_mut::<4>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

/// Longest sum that is computed at once: tiles and panels of this length stay in the second-level cache.
const PASS: usize = 512;
/// Part of a long sum that one task computes.
const PART: usize = 1_024;
/// Values of a result that stays in the second-level cache while a long sum passes by.
const SMALL_RESULT: usize = 128 << 10;

thread_local! {
    /// Packed operands of one thread's tasks, tiles and panels.
    static PACKED: RefCell<(Vec<f32>, Vec<f32>)> = RefCell::default();
    /// Panels that all threads read, owned by the thread that asked for the product.
    static PANELS: RefCell<Vec<f32>> = RefCell::default();
}

/// y = a·bᵀ + bias on all threads, with a `[m, k]`, b `[n, k]`, bias `[n]` and y `[m, n]`; `sizes` is `[m, n, k]`. The result does not
/// depend on the number of threads.
pub fn product(a: Operand<'_>, b: Operand<'_>, bias: Option<&[f32]>, sizes: [usize; 3], y: &mut [f32]) {
    let [m, n, k] = sizes;
    if y.is_empty() || k == 0 {
        y.fill(0.0);
        return y.chunks_exact_mut(n.max(1)).zip(bias.into_iter().cycle()).for_each(|(row, bias)| row.copy_from_slice(bias));
    }
    // The gradient of a weight: few values, each of which is a sum over the whole batch.
    if m * n <= SMALL_RESULT && k > 2 * PART && bias.is_none() {
        by_parts(a, b, sizes, y);
    } else {
        by_rows(a, b, bias, sizes, y);
    }
}

/// A task computes some rows, whole. Right rows are packed once for all.
fn by_rows(a: Operand<'_>, b: Operand<'_>, bias: Option<&[f32]>, [_, n, k]: [usize; 3], y: &mut [f32]) {
    let geometry = tile::geometry();
    let (rows, width) = (block_rows(geometry), geometry.panel_width);
    // Taken out: while this thread waits for the others it may be given work that multiplies too.
    let mut panels = PANELS.take();
    for pass in passes(0..k) {
        panels.resize(n.next_multiple_of(width) * pass.len(), 0.0);
        for_each_chunk(&mut panels, width * pass.len(), |panel, packed| {
            b.pack_panels(panel * width..(panel * width + width).min(n), pass.clone(), width, packed);
        });
        let (panels, is_first) = (&*panels, pass.start == 0);
        for_each_chunk(y, rows * n, |block, y| {
            PACKED.with_borrow_mut(|(tiles, _)| {
                let count = y.len() / n;
                tiles.resize(count * pass.len(), 0.0);
                a.pack_tiles(block * rows..block * rows + count, pass.clone(), geometry.max_rows, tiles);
                simd::dispatch(Block { n, k: pass.len(), tiles, panels, bias: bias.filter(|_| is_first), accumulate: !is_first, y });
            });
        });
    }
    PANELS.set(panels);
}

/// A task computes all rows over a part of the sum; the parts are added in their order.
fn by_parts(a: Operand<'_>, b: Operand<'_>, [m, n, k]: [usize; 3], y: &mut [f32]) {
    let geometry = tile::geometry();
    let width = geometry.panel_width;
    let mut parts = vec![0.0; k.div_ceil(PART) * m * n];
    for_each_chunk(&mut parts, m * n, |part, y| {
        PACKED.with_borrow_mut(|(tiles, panels)| {
            let part = part * PART..(part * PART + PART).min(k);
            for pass in passes(part.clone()) {
                tiles.resize(m * pass.len(), 0.0);
                a.pack_tiles(0..m, pass.clone(), geometry.max_rows, tiles);
                panels.resize(n.next_multiple_of(width) * pass.len(), 0.0);
                b.pack_panels(0..n, pass.clone(), width, panels);
                simd::dispatch(Block { n, k: pass.len(), tiles, panels, bias: None, accumulate: pass.start != part.start, y });
            }
        });
    });
    let rows = block_rows(geometry);
    for_each_chunk(y, rows * n, |block, y| {
        y.fill(0.0);
        for part in parts.chunks_exact(m * n) {
            y.iter_mut().zip(&part[block * rows * n..]).for_each(|(y, value)| *y += value);
        }
    });
}

/// Cuts a sum into equal passes.
fn passes(k: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let length = k.len().div_ceil(k.len().div_ceil(PASS).max(1)).max(1);
    k.clone().step_by(length).map(move |start| start..(start + length).min(k.end))
}

/// Some rows of a product over one pass.
struct Block<'a> {
    /// Columns of y.
    n: usize,
    /// Length of the pass.
    k: usize,
    /// Left rows.
    tiles: &'a [f32],
    /// Right rows.
    panels: &'a [f32],
    /// Added to every row.
    bias: Option<&'a [f32]>,
    /// Whether the result is added to y or put in its place.
    accumulate: bool,
    /// `[rows, n]`.
    y: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { n, k, tiles, panels, bias, accumulate, y } = self;
        let (rows, width) = (y.len() / n, tile::panel_width::<S>());
        let mut sums = [tile::zero(simd); tile::MAX_ROWS];
        for (first, panel) in (0..n).step_by(width).zip(panels.chunks_exact(width * k)) {
            let end = (first + width).min(n);
            let bias = bias.map_or_else(|| tile::zero(simd), |bias| tile::load(simd, &bias[first..end]));
            let mut row = 0;
            for height in tile::heights(rows, tile::max_rows::<S>()) {
                tile::multiply(simd, height, &tiles[row * k..(row + height) * k], panel, &mut sums);
                for (y, &sums) in y[row * n..].chunks_mut(n).zip(&sums[..height]) {
                    let y = &mut y[first..end];
                    let sums = tile::add(simd, sums, if accumulate { tile::load(simd, y) } else { bias });
                    tile::store(simd, sums, y);
                }
                row += height;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every sum is exact.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13 + i / 11) % 9) as f32 - 4.0).collect()
    }

    #[test]
    fn products_are_exact_for_every_layout_and_size() {
        for [m, n, k] in [[1, 1, 1], [3, 70, 5], [97, 33, 640], [200, 16, 1_025], [13, 40, 2_049], [160, 50, 5_000], [5, 3, 0]] {
            let (a, b, bias) = (values(m * k, 1), values(n * k, 2), values(n, 3));
            let flipped = |x: &[f32], rows: usize| (0..k * rows).map(|i| x[i % rows * k + i / rows]).collect::<Vec<_>>();
            let (a_columns, b_columns) = (flipped(&a, m), flipped(&b, n));
            let entry = |i: usize, j: usize| (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[j * k + l])).sum::<f64>() as f32;
            let expected: Vec<f32> = (0..m * n).map(|i| entry(i / n, i % n)).collect();
            for a in [Operand::rows(&a, k.max(1)), Operand::columns(&a_columns, m)] {
                for b in [Operand::rows(&b, k.max(1)), Operand::columns(&b_columns, n)] {
                    let mut y = vec![f32::NAN; m * n];
                    product(a, b, None, [m, n, k], &mut y);
                    assert!(y == expected, "{m} × {n} × {k}");
                    product(a, b, Some(&bias), [m, n, k], &mut y);
                    assert!(y.iter().enumerate().all(|(i, y)| *y == expected[i] + bias[i % n]), "{m} × {n} × {k} with bias");
                }
            }
        }
    }
}
