//! Antialiased bilinear and bicubic resizing of interleaved RGB, rounded and not.
//!
//! Both share the weights: a filter with half-pixel centres, widened by the scale when reducing and renormalised at the edges. [`bytes`]
//! rounds as torchvision does on a CPU (uint8 between the passes, 16-bit fixed-point weights, see
//! `aten/src/ATen/native/cpu/UpSampleKernel.cpp`); [`floats`] never rounds, as `tf.image.resize` in big_vision.

use std::borrow::Cow;
use std::ops::Range;

use crate::config::Filter;

/// Channels of every image here.
pub(crate) const CHANNELS: usize = 3;

/// Height and width of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Size {
    /// Values in an RGB image of this size.
    pub(crate) const fn values(self) -> usize {
        self.height * self.width * CHANNELS
    }
}

/// Resizes `pixels` (`from.height × from.width` RGB) bit for bit as torchvision's uint8 kernel: columns first, then rows, each only if
/// that side changes.
pub(crate) fn bytes(pixels: &[u8], from: Size, to: Size, filter: Filter) -> Cow<'_, [u8]> {
    let mut pixels = Cow::Borrowed(pixels);
    if from.width != to.width {
        let weights = FixedPoint::new(Axis::new(from.width, to.width, filter));
        pixels = Cow::Owned(pulp::Arch::new().dispatch(|| fixed_columns(&pixels, from.width, to.width, &weights)));
    }
    if from.height != to.height {
        let weights = FixedPoint::new(Axis::new(from.height, to.height, filter));
        pixels = Cow::Owned(pulp::Arch::new().dispatch(|| fixed_rows(&pixels, to, &weights)));
    }
    pixels
}

/// Scales `pixels` to -1..1 and resizes them in f32 without rounding, rows first because that leaves less for the slower pass.
pub(crate) fn floats(pixels: &[u8], from: Size, to: Size) -> Vec<f32> {
    let rows = Axis::new(from.height, to.height, Filter::Bilinear);
    let columns = Axis::new(from.width, to.width, Filter::Bilinear);
    pulp::Arch::new().dispatch(|| {
        let rows_done = float_rows(pixels, from.width, to.height, &rows);
        if from.width == to.width { rows_done } else { float_columns(&rows_done, from.width, to, &columns) }
    })
}

/// Which source pixels make each target pixel of one axis.
pub(crate) struct Axis {
    /// For each target pixel: the first source pixel, and where its weights lie in `weights`.
    taps: Vec<(usize, Range<usize>)>,
    /// Weights of all target pixels; each pixel's sum to 1.
    weights: Vec<f64>,
}

impl Axis {
    /// `_compute_indices_min_size_weights_aa` of PyTorch, in the same f64 operations.
    pub(crate) fn new(source: usize, target: usize, filter: Filter) -> Self {
        let (reach, kernel): (f64, fn(f64) -> f64) = match filter {
            Filter::Bilinear => (1.0, triangle),
            Filter::Bicubic => (2.0, cubic),
        };
        let scale = source as f64 / target as f64;
        let support = reach * scale.max(1.0);
        let inverse_scale = if scale >= 1.0 { 1.0 / scale } else { 1.0 };
        let most = 2 * support.ceil() as usize + 1;
        let mut axis = Self { taps: Vec::with_capacity(target), weights: Vec::with_capacity(2 * source + 3 * target) };
        for i in 0..target {
            let center = scale * (i as f64 + 0.5);
            // `as usize` truncates and saturates at zero, which is what the reference's cast followed by `max(0)` gives.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            let count = end.saturating_sub(first).min(most);
            let begin = axis.weights.len();
            axis.weights.extend((0..count).map(|j| {
                let distance = ((j + first) as f64 - center + 0.5) * inverse_scale;
                kernel(distance)
            }));
            let mine = &mut axis.weights[begin..];
            let total: f64 = mine.iter().sum();
            mine.iter_mut().for_each(|weight| *weight /= total);
            axis.taps.push((first, begin..axis.weights.len()));
        }
        axis
    }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys' cubic with a = −0.5, which PyTorch takes from Pillow when it antialiases, in its order of operations.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Weights of an [`Axis`] as integers, scaled by two to the `precision` so that the largest just fits in 16 bits.
pub(crate) struct FixedPoint {
    /// As in [`Axis`].
    pub(crate) taps: Vec<(usize, Range<usize>)>,
    pub(crate) weights: Vec<i32>,
    pub(crate) precision: u32,
}

impl FixedPoint {
    /// `_compute_index_ranges_int16_weights` of PyTorch.
    pub(crate) fn new(axis: Axis) -> Self {
        let largest = axis.weights.iter().copied().fold(0.0, f64::max);
        let overflows = |precision: u32| 0.5 + largest * f64::from(1u32 << (precision + 1)) >= 32768.0;
        let precision = (0..22).find(|&precision| overflows(precision)).unwrap_or(22);
        let unit = f64::from(1u32 << precision);
        let weights = axis.weights.iter().map(|weight| (weight * unit + 0.5_f64.copysign(*weight)) as i32).collect();
        Self { taps: axis.taps, weights, precision }
    }

    /// Half of the unit: what a sum starts with, so that the final shift rounds to nearest.
    const fn half(&self) -> i32 {
        1 << (self.precision - 1)
    }

    #[inline(always)]
    fn round(&self, sum: i32) -> u8 {
        (sum >> self.precision).clamp(0, 255) as u8
    }
}

/// Rows that the column pass handles together. Neighbouring columns of one row have different weights, but one column has the same
/// weights in all rows: with the rows side by side, every multiplication is by one scalar.
const ROWS: usize = 16;
const LANES: usize = ROWS * CHANNELS;

#[inline(always)]
fn fixed_columns(pixels: &[u8], source_width: usize, target_width: usize, axis: &FixedPoint) -> Vec<u8> {
    let (source_stride, target_stride) = (source_width * CHANNELS, target_width * CHANNELS);
    let mut resized = vec![0; pixels.len() / source_stride * target_stride];
    let mut side_by_side = vec![[0u8; LANES]; source_width];
    for (sources, targets) in pixels.chunks(ROWS * source_stride).zip(resized.chunks_mut(ROWS * target_stride)) {
        for (row, source) in sources.chunks_exact(source_stride).enumerate() {
            let lane = row * CHANNELS;
            for (column, pixel) in side_by_side.iter_mut().zip(source.as_chunks::<CHANNELS>().0) {
                column[lane..lane + CHANNELS].copy_from_slice(pixel);
            }
        }
        for (x, (first, weights)) in axis.taps.iter().enumerate() {
            let mut sums = [axis.half(); LANES];
            for (weight, column) in axis.weights[weights.clone()].iter().zip(&side_by_side[*first..]) {
                for (sum, &value) in sums.iter_mut().zip(column) {
                    *sum += weight * i32::from(value);
                }
            }
            for (target, sum) in targets.chunks_exact_mut(target_stride).zip(sums.as_chunks::<CHANNELS>().0) {
                for (value, &sum) in target[x * CHANNELS..].iter_mut().zip(sum) {
                    *value = axis.round(sum);
                }
            }
        }
    }
    resized
}

#[inline(always)]
fn fixed_rows(pixels: &[u8], to: Size, axis: &FixedPoint) -> Vec<u8> {
    let stride = to.width * CHANNELS;
    let mut resized = vec![0; to.values()];
    let mut sums = vec![0i32; stride];
    for (target, (first, weights)) in resized.chunks_exact_mut(stride).zip(&axis.taps) {
        sums.fill(axis.half());
        for (weight, source) in axis.weights[weights.clone()].iter().zip(pixels[first * stride..].chunks_exact(stride)) {
            for (sum, &value) in sums.iter_mut().zip(source) {
                *sum += weight * i32::from(value);
            }
        }
        for (value, &sum) in target.iter_mut().zip(&sums) {
            *value = axis.round(sum);
        }
    }
    resized
}

#[inline(always)]
fn float_rows(pixels: &[u8], width: usize, target_height: usize, axis: &Axis) -> Vec<f32> {
    let stride = width * CHANNELS;
    let mut resized = vec![0.0; target_height * stride];
    for (target, (first, weights)) in resized.chunks_exact_mut(stride).zip(&axis.taps) {
        for (&weight, source) in axis.weights[weights.clone()].iter().zip(pixels[first * stride..].chunks_exact(stride)) {
            let weight = weight as f32;
            for (sum, &value) in target.iter_mut().zip(source) {
                *sum += weight * (f32::from(value) / 255.0 * 2.0 - 1.0);
            }
        }
    }
    resized
}

#[inline(always)]
fn float_columns(rows: &[f32], source_width: usize, to: Size, axis: &Axis) -> Vec<f32> {
    let mut resized = vec![0.0; to.values()];
    for (source, target) in rows.chunks_exact(source_width * CHANNELS).zip(resized.chunks_exact_mut(to.width * CHANNELS)) {
        let source = source.as_chunks::<CHANNELS>().0;
        for (target, (first, weights)) in target.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(&axis.taps) {
            for (&weight, pixel) in axis.weights[weights.clone()].iter().zip(&source[*first..]) {
                for (sum, &value) in target.iter_mut().zip(pixel) {
                    *sum += weight as f32 * value;
                }
            }
        }
    }
    resized
}
