//! The vision tower's position table, resized to any grid (siglip2 NaFlex; `F.interpolate(mode="bilinear", antialias=True)`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::image::Grid;

/// A square table `[side, side, width]` and its resized forms.
#[derive(Debug)]
pub struct PositionTable {
    values: Vec<f32>,
    side: usize,
    width: usize,
    cache: HashMap<Grid, Arc<[f32]>>,
    cached_floats: usize,
}

/// Cached tables, in values: 32 MiB of f32, which holds some forty grids of a base model at 256 patches.
const CACHE_FLOATS: usize = 8 << 20;

impl PositionTable {
    /// A table of row-major `values` `[side·side, width]`.
    pub fn new(values: Vec<f32>, side: usize) -> Self {
        let width = values.len() / (side * side);
        Self { values, side, width, cache: HashMap::new(), cached_floats: 0 }
    }

    /// Position rows of a grid, `[rows·cols, width]`. A grid of the table's own size gets the table itself.
    pub fn rows(&mut self, grid: Grid) -> Arc<[f32]> {
        if let Some(rows) = self.cache.get(&grid) {
            return Arc::clone(rows);
        }
        let rows: Arc<[f32]> = self.resized(grid).into();
        if self.cached_floats + rows.len() > CACHE_FLOATS {
            self.cache.clear();
            self.cached_floats = 0;
        }
        self.cached_floats += rows.len();
        self.cache.insert(grid, Arc::clone(&rows));
        rows
    }

    /// PE\[y,x\] = Σᵢ Wy\[y,i\] · Σⱼ Wx\[x,j\] · table\[i,j\].
    fn resized(&self, grid: Grid) -> Vec<f32> {
        let row_len = grid.cols * self.width;
        let x_taps = taps(self.side, grid.cols);
        let mut across = vec![0.0; self.side * row_len];
        for (from, to) in self.values.chunks_exact(self.side * self.width).zip(across.chunks_exact_mut(row_len)) {
            blend(from, &x_taps, to);
        }
        let mut resized = vec![0.0; grid.rows * row_len];
        blend(&across, &taps(self.side, grid.rows), &mut resized);
        resized
    }
}

/// The resize of a `[side·side, width]` table to a grid as a matrix, row-major `[rows·cols, side·side]`: position rows are its product
/// with the table, which is how a trainer differentiates through it.
pub fn resize_weights(side: usize, grid: Grid) -> Vec<f32> {
    let (y_taps, x_taps) = (taps(side, grid.rows), taps(side, grid.cols));
    let mut weights = vec![0.0; grid.patches() * side * side];
    let mut rows = weights.chunks_exact_mut(side * side);
    for y in &y_taps {
        for (x, row) in x_taps.iter().zip(&mut rows) {
            for (&(i, y_weight), &(j, x_weight)) in y.iter().flat_map(|y| x.iter().map(move |x| (y, x))) {
                row[i * side + j] = y_weight * x_weight;
            }
        }
    }
    weights
}

/// Source rows and their weights for one output row.
type Taps = Vec<(usize, f32)>;

/// Antialiased bilinear weights from `from` to `to` samples: a triangle as wide as the larger pixel, half-pixel centres, renormalised at
/// the edges (`scale_and_translate` in JAX and torch's antialiased interpolation agree on this).
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let row = |o: usize| {
        let centre = (o as f64 + 0.5) * scale - 0.5;
        let weight = |i: usize| (1.0 - (i as f64 - centre).abs() / support).max(0.0);
        let sum: f64 = (0..from).map(weight).sum();
        (0..from).map(|i| (i, (weight(i) / sum) as f32)).filter(|&(_, w)| w > 0.0).collect()
    };
    (0..to).map(row).collect()
}

/// Each output row is a weighted sum of input rows of the same length.
fn blend(from: &[f32], taps: &[Taps], to: &mut [f32]) {
    let len = to.len() / taps.len();
    for (taps, to) in taps.iter().zip(to.chunks_exact_mut(len)) {
        for &(i, weight) in taps {
            for (to, &from) in to.iter_mut().zip(&from[i * len..(i + 1) * len]) {
                *to += weight * from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PositionTable, resize_weights, taps};
    use crate::image::Grid;

    /// Rows computed by hand from the formula in the module's source (siglip2 reference, resize of a 16-tap table).
    #[test]
    fn taps_match_golden_rows() {
        let seven = taps(16, 7);
        for ((index, weight), (golden_index, golden)) in seven[0].iter().zip([(0, 0.365_079), (1, 0.428_571), (2, 0.206_349)]) {
            assert_eq!(*index, golden_index);
            assert!((weight - golden).abs() < 1e-6);
        }
        let squares = |to| -> Vec<f32> { taps(16, to).iter().map(|t| t.iter().map(|&(i, w)| w * (i * i) as f32).sum()).collect() };
        let golden = [0.3, 2.5, 8.27273, 17.81818, 30.5, 46.81818, 67.27273, 90.5, 117.36364, 148.72727, 182.5, 216.3];
        for (got, want) in squares(12).iter().zip(golden) {
            assert!((got - want).abs() < 1e-4, "{got} instead of {want}");
        }
    }

    /// 1e-6: the sums are the same, in another order.
    #[test]
    fn resizing_is_a_product_with_the_weights() {
        const SIDE: usize = 5;
        let values: Vec<f32> = (0..SIDE * SIDE * 3).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut table = PositionTable::new(values.clone(), SIDE);
        for grid in [(5, 5), (1, 9), (2, 3), (7, 4), (1, 1)].map(|(rows, cols)| Grid { rows, cols }) {
            let weights = resize_weights(SIDE, grid);
            let rows = weights.chunks_exact(SIDE * SIDE);
            let product = rows.flat_map(|row| (0..3).map(|c| row.iter().enumerate().map(|(i, w)| w * values[3 * i + c]).sum::<f32>()));
            for (got, want) in product.collect::<Vec<_>>().iter().zip(table.rows(grid).iter()) {
                assert!((got - want).abs() < 1e-6, "{grid:?}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn same_size_is_the_identity() {
        assert!(taps(16, 16).iter().enumerate().all(|(i, taps)| *taps == [(i, 1.0)]));
    }
}
