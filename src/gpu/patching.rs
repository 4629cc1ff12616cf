//! `image_to_patches` on the GPU, after `resize_columns`: in one kernel, the rows' sums would be computed again for each tap of a column.

use super::dispatch::{self, Dispatch, Input};
use super::pipelines::Variant;
use super::uniforms::{Counts, ImageToPatchesShape, ResizeColumnsShape, Taps};
use super::{GpuBackend, GpuError, operands};
use crate::kernels::image_to_patches::{ImageToPatches, levels};
use crate::kernels::resize::FixedPoint;
use crate::limits;

impl GpuBackend {
    /// Resizes an image and cuts it into patches: the very values of [`ImageToPatches::run`]. `pixels` are `[height, width]`, red in the
    /// lowest byte, as a canvas gives them on a little-endian machine; the highest byte, alpha, is ignored.
    ///
    /// # Errors
    /// A shape that contradicts itself or `pixels`, an image beyond the adapter's limits, no memory, a lost device.
    pub async fn image_to_patches(&self, shape: &ImageToPatches, pixels: &[u32]) -> Result<Vec<f32>, GpuError> {
        if !is_sound(shape, pixels.len()) {
            return Err(GpuError::Unsupported(format!("{shape:?} of {} pixels", pixels.len())));
        }
        let (passes, levels) = (shape.passes(), levels());
        let taps = passes.each_ref().map(taps);
        let (resize, patch) = (ResizeColumnsShape::from(shape), ImageToPatchesShape::from(shape));
        let (patch_size, width) = (u64::from(patch.patch_size), u64::from(resize.target_width));
        let (patches, row_values) = (shape.rows * shape.cols, shape.patch_size * shape.patch_size * 3);
        let dispatches = [
            Dispatch {
                kernel: Variant::resize_columns(),
                uniform: bytemuck::bytes_of(&resize),
                counts: counts(shape.source.height),
                inputs: vec![Input::words(pixels), Input::words(&taps[0]), Input::words(&passes[0].weights)],
                output_bytes: shape.source.height as u64 * width * size_of::<u32>() as u64,
                workgroups: (shape.source.height as u64 * width).div_ceil(operands::WORKGROUP),
                is_result: false,
            },
            Dispatch {
                kernel: Variant::image_to_patches(),
                uniform: bytemuck::bytes_of(&patch),
                counts: counts(patches),
                inputs: vec![Input::Earlier(0), Input::words(&taps[1]), Input::words(&passes[1].weights), Input::words(&levels)],
                output_bytes: (patches * operands::stride(row_values) * size_of::<f32>()) as u64,
                workgroups: (patches as u64 * patch_size * patch_size).div_ceil(operands::WORKGROUP),
                is_result: true,
            },
        ];
        let outputs = dispatch::run(&self.device, &self.pipelines, &dispatches).await?;
        Ok(operands::unpadded(outputs.first().map_or(&[], Vec::as_slice), row_values))
    }
}

/// Whether the image has its pixels, the patches lie within the target, and the target within the [`limits`], so that no product overflows.
fn is_sound(shape: &ImageToPatches, pixels: usize) -> bool {
    let &ImageToPatches { source, target, rows, cols, patch_size, .. } = shape;
    let (height, width) = (rows.saturating_mul(patch_size), cols.saturating_mul(patch_size));
    let most = limits::MAX_NUM_PATCHES * limits::MAX_PATCH_SIZE;
    let covered = (1..=target.height).contains(&height) && (1..=target.width).contains(&width);
    let limited = patch_size <= limits::MAX_PATCH_SIZE && rows.saturating_mul(cols) <= limits::MAX_NUM_PATCHES;
    covered && limited && target.height.max(target.width) <= most && pixels > 0 && pixels == source.height.saturating_mul(source.width)
}

/// A grid of this many rows.
const fn counts(rows: usize) -> Counts {
    Counts { tokens: rows as u32, segments: 1, query_tiles: 0 }
}

fn taps(pass: &FixedPoint) -> Vec<Taps> {
    let place = |(first, range): &(usize, std::ops::Range<usize>)| Taps {
        first: *first as u32,
        begin: range.start as u32,
        end: range.end as u32,
        shift: pass.precision,
    };
    pass.taps.iter().map(place).collect()
}
