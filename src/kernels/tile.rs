//! The inner product block that `gemm` and `attention` share, and the packed layouts it reads.
//!
//! A tile multiplies up to [`MAX_ROWS`] left rows with one panel of right rows. Both are stored with the summed dimension outermost, so
//! that the inner loop reads two contiguous streams: for each k, the tile's left values are broadcast against the panel's vectors.

use pulp::{Simd, WithSimd};

use super::simd;

/// Vectors in a panel. Two vectors × 12 rows fill 24 of AVX-512's 32 registers, leaving room for operands.
const PANEL_VECTORS: usize = 2;

/// Tallest tile of any instruction set.
pub(crate) const MAX_ROWS: usize = 12;

/// Tallest tile that keeps its accumulators in registers.
pub(crate) const fn max_rows<S: Simd>() -> usize {
    if cfg!(target_family = "wasm") {
        // V8 computes a tile of 4 rows a third faster than one of 6, the most that fits into x86's 16 registers.
        4
    } else if S::REGISTER_COUNT >= 32 {
        MAX_ROWS
    } else {
        6
    }
}

/// Right rows in one panel.
pub(crate) const fn panel_width<S: Simd>() -> usize {
    PANEL_VECTORS * S::F32_LANES
}

/// One row's sums over a panel.
pub(crate) type Vectors<S> = [<S as Simd>::f32s; PANEL_VECTORS];

/// Sizes that depend on this machine's instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) max_rows: usize,
    pub(crate) panel_width: usize,
}

/// The geometry that [`multiply`] uses on this machine.
pub(crate) fn geometry() -> Geometry {
    struct Get;
    impl WithSimd for Get {
        type Output = Geometry;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> Geometry {
            Geometry { max_rows: max_rows::<S>(), panel_width: panel_width::<S>() }
        }
    }
    simd::dispatch(Get)
}

/// Heights of the tiles that cover `rows` rows: as equal as possible, so that no tile is left nearly empty.
pub(crate) fn heights(rows: usize, max: usize) -> impl Iterator<Item = usize> + Clone {
    let tiles = rows.div_ceil(max);
    (0..tiles).map(move |i| rows / tiles + usize::from(i < rows % tiles))
}

/// Packs rows of length `k`, `stride` apart and multiplied by `scale`, as `[k][height]`. Of the `height` rows `count` exist; the rest keeps
/// what `packed` holds.
pub(crate) fn pack(rows: &[f32], stride: usize, height: usize, k: usize, scale: f32, packed: &mut [f32], count: usize) {
    for (i, row) in rows.chunks(stride).take(count).enumerate() {
        for (slot, &value) in packed.iter_mut().skip(i).step_by(height).zip(&row[..k]) {
            *slot = value * scale;
        }
    }
}

/// Loads up to one panel's width; missing values are 0.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, values: &[f32]) -> Vectors<S> {
    let (low, high) = values.split_at(values.len().min(S::F32_LANES));
    [simd.partial_load_f32s(low), simd.partial_load_f32s(high)]
}

/// Stores up to one panel's width.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, vectors: Vectors<S>, values: &mut [f32]) {
    let (low, high) = values.split_at_mut(values.len().min(S::F32_LANES));
    simd.partial_store_f32s(low, vectors[0]);
    simd.partial_store_f32s(high, vectors[1]);
}

/// Sum of two panels' vectors.
#[inline(always)]
pub(crate) fn add<S: Simd>(simd: S, a: Vectors<S>, b: Vectors<S>) -> Vectors<S> {
    [simd.add_f32s(a[0], b[0]), simd.add_f32s(a[1], b[1])]
}

/// Multiplies a packed tile `[k][height]` with a packed panel `[k][panel_width]`; the first `height` of `sums` receive the result.
///
/// The result goes through memory rather than a callback: what follows is then compiled once, with this function's instruction set.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(simd: S, height: usize, tile: &[f32], panel: &[f32], sums: &mut [Vectors<S>; MAX_ROWS]) {
    let panel = S::as_simd_f32s(panel).0.as_chunks::<PANEL_VECTORS>().0;
    match height {
        1 => fixed::<S, 1>(simd, tile, panel, sums),
        2 => fixed::<S, 2>(simd, tile, panel, sums),
        3 => fixed::<S, 3>(simd, tile, panel, sums),
        4 => fixed::<S, 4>(simd, tile, panel, sums),
        5 => fixed::<S, 5>(simd, tile, panel, sums),
        6 => fixed::<S, 6>(simd, tile, panel, sums),
        7 => fixed::<S, 7>(simd, tile, panel, sums),
        8 => fixed::<S, 8>(simd, tile, panel, sums),
        9 => fixed::<S, 9>(simd, tile, panel, sums),
        10 => fixed::<S, 10>(simd, tile, panel, sums),
        11 => fixed::<S, 11>(simd, tile, panel, sums),
        _ => fixed::<S, MAX_ROWS>(simd, tile, panel, sums),
    }
}

#[inline(always)]
fn fixed<S: Simd, const ROWS: usize>(simd: S, tile: &[f32], panel: &[Vectors<S>], result: &mut [Vectors<S>; MAX_ROWS]) {
    let mut sums = [zero(simd); ROWS];
    for (left, right) in tile.as_chunks::<ROWS>().0.iter().zip(panel) {
        for (sums, &left) in sums.iter_mut().zip(left) {
            let left = simd.splat_f32s(left);
            for (sum, &right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(left, right, *sum);
            }
        }
    }
    result[..ROWS].copy_from_slice(&sums);
}

/// A panel's worth of zeros.
#[inline(always)]
pub(crate) fn zero<S: Simd>(simd: S) -> Vectors<S> {
    [simd.splat_f32s(0.0); PANEL_VECTORS]
}
