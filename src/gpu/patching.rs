//! `image_to_patches` on the GPU, after `resize_columns`: in one kernel, the rows' sums would be computed again for each tap of a column.

use super::dispatch::{self, Dispatch, Input};
use super::pipelines::Variant;
use super::uniforms::{Counts, ImageToPatchesShape, ResizeColumnsShape, Taps};
use super::{GpuBackend, GpuError, operands};
use crate::kernels::image_to_patches::{ImageToPatches, levels};
use crate::kernels::resize::FixedPoint;

impl GpuBackend {
    /// Resizes an image and cuts it into patches: the very values of [`ImageToPatches::run`]. `pixels` are `[height, width]`, red in the
    /// lowest byte, as a canvas gives them on a little-endian machine; the highest byte, alpha, is ignored.
    ///
    /// # Errors
    /// A shape that contradicts itself or `pixels`, an image beyond the adapter's limits, no memory, a lost device.
    pub async fn image_to_patches(&self, shape: &ImageToPatches, pixels: &[u32]) -> Result<Vec<f32>, GpuError> {
        let &ImageToPatches { source, target, rows, cols, patch_size, .. } = shape;
        let (height, width) = (rows * patch_size, cols * patch_size);
        let covered = height <= target.height && width <= target.width;
        if height * width == 0 || pixels.is_empty() || pixels.len() != source.height * source.width || !covered {
            return Err(GpuError::Unsupported(format!("{shape:?} of {} pixels", pixels.len())));
        }
        let [columns, rows_pass] = shape.passes();
        let (column_taps, row_taps) = (taps(&columns), taps(&rows_pass));
        let resize = ResizeColumnsShape { source_width: source.width as u32, target_width: width as u32 };
        let resize = Dispatch {
            kernel: Variant::resize_columns(),
            uniform: bytemuck::bytes_of(&resize),
            counts: counts(source.height),
            inputs: vec![Input::words(pixels), Input::words(&column_taps), Input::words(&columns.weights)],
            output_bytes: (source.height * width * size_of::<u32>()) as u64,
            workgroups: ((source.height * width) as u64).div_ceil(operands::WORKGROUP),
            is_result: false,
        };
        let (values, levels) = (patch_size * patch_size * 3, levels());
        let patch = ImageToPatchesShape { cols: cols as u32, patch_size: patch_size as u32 };
        let patch = Dispatch {
            kernel: Variant::image_to_patches(),
            uniform: bytemuck::bytes_of(&patch),
            counts: counts(rows * cols),
            inputs: vec![Input::Earlier(0), Input::words(&row_taps), Input::words(&rows_pass.weights), Input::words(&levels)],
            output_bytes: (rows * cols * operands::stride(values) * size_of::<f32>()) as u64,
            workgroups: ((height * width) as u64).div_ceil(operands::WORKGROUP),
            is_result: true,
        };
        let outputs = dispatch::run(&self.device, &self.pipelines, &[resize, patch]).await?;
        Ok(operands::unpadded(outputs.first().map_or(&[], Vec::as_slice), values))
    }
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
