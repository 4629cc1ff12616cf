//! `image_to_patches` on the GPU.

use super::dispatch::{self, Dispatch, Input};
use super::pipelines::Variant;
use super::uniforms::{Counts, ImageToPatchesShape, Taps};
use super::{GpuBackend, GpuError, operands};
use crate::kernels::image_to_patches::{ImageToPatches, levels};

impl GpuBackend {
    /// Resizes an image and cuts it into patches: the very values of [`ImageToPatches::run`]. `pixels` are `[height, width]`, red in the
    /// lowest byte, as a canvas gives them on a little-endian machine; the highest byte, alpha, is ignored.
    ///
    /// # Errors
    /// A shape that contradicts itself or `pixels`, an image beyond the adapter's limits, no memory, a lost device.
    pub async fn image_to_patches(&self, shape: &ImageToPatches, pixels: &[u32]) -> Result<Vec<f32>, GpuError> {
        let &ImageToPatches { source, target, rows, cols, patch_size, .. } = shape;
        let covered = rows * patch_size <= target.height && cols * patch_size <= target.width;
        if rows * cols * patch_size == 0 || pixels.is_empty() || pixels.len() != source.height * source.width || !covered {
            return Err(GpuError::Unsupported(format!("{shape:?} of {} pixels", pixels.len())));
        }
        let (taps, weights) = tables(shape);
        let levels = levels();
        let uniform = ImageToPatchesShape {
            source_width: source.width as u32,
            target_width: target.width as u32,
            cols: cols as u32,
            patch_size: patch_size as u32,
        };
        let values = patch_size * patch_size * 3;
        let dispatch = Dispatch {
            kernel: Variant::image_to_patches(),
            uniform: bytemuck::bytes_of(&uniform),
            counts: Counts { tokens: (rows * cols) as u32, segments: 1, query_tiles: 0 },
            inputs: vec![
                Input::Bytes(bytemuck::cast_slice(pixels)),
                Input::Bytes(bytemuck::cast_slice(&taps)),
                Input::Bytes(bytemuck::cast_slice(&weights)),
                Input::Bytes(bytemuck::cast_slice(&levels)),
            ],
            output_bytes: (rows * cols * operands::stride(values) * size_of::<f32>()) as u64,
            workgroups: ((rows * cols * patch_size * patch_size) as u64).div_ceil(operands::WORKGROUP),
        };
        let outputs = dispatch::run(&self.device, &self.pipelines, &[dispatch]).await?;
        Ok(operands::unpadded(outputs.first().map_or(&[], Vec::as_slice), values))
    }
}

/// Both axes' taps, columns first, and their weights.
fn tables(shape: &ImageToPatches) -> (Vec<Taps>, Vec<i32>) {
    let (mut taps, mut weights) = (Vec::new(), Vec::new());
    for pass in shape.passes() {
        let base = weights.len();
        let place = |(first, range): (usize, std::ops::Range<usize>)| Taps {
            first: first as u32,
            begin: (base + range.start) as u32,
            end: (base + range.end) as u32,
            shift: pass.precision,
        };
        taps.extend(pass.taps.into_iter().map(place));
        weights.extend(pass.weights);
    }
    (taps, weights)
}
