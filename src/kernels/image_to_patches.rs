//! `image_to_patches`: an RGB image resized with antialiasing, cut into patches and scaled to −1..1.

use super::resize::{self, Axis, CHANNELS, FixedPoint, Size};
use crate::config::Filter;

/// Shape of one `image_to_patches`: pixels `[source.height, source.width, 3]` u8 → patches `[rows·cols, patch_size·patch_size·3]` f32, inside
/// a patch (y, x, channel). The target may exceed the patches on the right and at the bottom; what exceeds is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageToPatches {
    /// Size of the image.
    pub source: Size,
    /// Size it is resized to; at least the patches'.
    pub target: Size,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// How pixels are averaged.
    pub filter: Filter,
}

impl ImageToPatches {
    /// CPU twin: bit for bit what `transformers` computes on a CPU, torchvision's uint8 resize, scaled to −1..1.
    pub fn run(&self, pixels: &[u8]) -> Vec<f32> {
        let levels = levels();
        self.cut(&resize::bytes(pixels, self.source, self.target, self.filter), |value| levels[usize::from(value)])
    }

    /// Cuts an image of the target's size into patches, each value through `value`.
    pub(crate) fn cut<T: Copy>(&self, pixels: &[T], value: impl Fn(T) -> f32) -> Vec<f32> {
        let (stride, run) = (self.target.width * CHANNELS, self.patch_size * CHANNELS);
        let mut values = Vec::with_capacity(self.rows * self.cols * self.patch_size * run);
        for row_of_patches in pixels.chunks_exact(self.patch_size * stride).take(self.rows) {
            for col in 0..self.cols {
                for line in row_of_patches.chunks_exact(stride) {
                    values.extend(line[col * run..][..run].iter().map(|&pixel| value(pixel)));
                }
            }
        }
        values
    }

    /// The weights of the two passes: along a row (columns), then down a column (rows). A side that stays has weights that change nothing.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "the CPU twin skips a side that stays"))]
    pub(crate) fn passes(&self) -> [FixedPoint; 2] {
        let pass = |source, target| FixedPoint::new(Axis::new(source, target, self.filter));
        [pass(self.source.width, self.target.width), pass(self.source.height, self.target.height)]
    }
}

/// What each pixel value becomes: (v − 127.5) / 127.5 in f32, as the image processors of every SigLIP normalise.
pub(crate) fn levels() -> [f32; 256] {
    std::array::from_fn(|value| (value as f32 - 127.5) / 127.5)
}
