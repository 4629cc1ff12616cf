//! Weights on the GPU.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;

use super::GpuError;
use super::device::Device;
use crate::kernels::Table;

/// How a matrix is stored on the GPU. Sums are f32 either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightPrecision {
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value, packed in pairs.
    F16,
}

/// A weight in GPU memory, which it gives back when the last clone and the last plan that uses it are dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuWeight {
    pub(super) buffer: wgpu::Buffer,
    /// Rows and columns; a vector has one row.
    pub(super) shape: (usize, usize),
    precision: WeightPrecision,
    overflow: Option<f32>,
}

impl GpuWeight {
    /// How it is stored.
    pub fn precision(&self) -> WeightPrecision {
        self.precision
    }

    /// The first value that f16 cannot hold, if f16 was asked for and the weight therefore stayed f32.
    pub fn overflow(&self) -> Option<f32> {
        self.overflow
    }

    /// Bytes of GPU memory.
    pub fn bytes(&self) -> u64 {
        self.buffer.size()
    }
}

/// Uploads W `[n, k]`, both sides padded with zeros to multiples of 4 so that shaders can move vec4s without looking.
pub(super) async fn upload_matrix(
    device: &Device,
    values: &[f32],
    (n, k): (usize, usize),
    precision: WeightPrecision,
) -> Result<GpuWeight, GpuError> {
    if n == 0 || k == 0 || values.len() != n * k {
        return Err(GpuError::Unsupported(format!("a weight of {} values is not {n} × {k}", values.len())));
    }
    let overflow = values.iter().copied().find(|v| !fits_f16(*v)).filter(|_| precision == WeightPrecision::F16);
    let values = padded(values, n, k);
    let (buffer, precision) = match precision {
        WeightPrecision::F16 if overflow.is_none() => {
            let mut halves = vec![half::f16::ZERO; values.len()];
            halves.convert_from_f32_slice(&values);
            (upload(device, bytemuck::cast_slice(&halves)).await?, WeightPrecision::F16)
        }
        _ => (upload(device, bytemuck::cast_slice(&values)).await?, WeightPrecision::F32),
    };
    Ok(GpuWeight { buffer, shape: (n, k), precision, overflow })
}

/// Uploads a vector, padded with zeros to a multiple of 4.
pub(super) async fn upload_vector(device: &Device, values: &[f32]) -> Result<GpuWeight, GpuError> {
    if values.is_empty() {
        return Err(GpuError::Unsupported("a weight has no values".to_owned()));
    }
    let mut padded = values.to_vec();
    padded.resize(values.len().next_multiple_of(4), 0.0);
    let buffer = upload(device, bytemuck::cast_slice(&padded)).await?;
    Ok(GpuWeight { buffer, shape: (1, values.len()), precision: WeightPrecision::F32, overflow: None })
}

/// Uploads stored vectors in chunks that the adapter can bind, padded as matrices are.
pub(super) async fn upload_table(device: &Device, table: Table<'_>, dim: usize) -> Result<Vec<GpuWeight>, GpuError> {
    let (values, value_bytes, precision) = match table {
        Table::F32(values) => (values.len(), size_of::<f32>(), WeightPrecision::F32),
        Table::F16(values) => (values.len(), size_of::<half::f16>(), WeightPrecision::F16),
    };
    if dim == 0 || !values.is_multiple_of(dim) {
        return Err(GpuError::Unsupported(format!("a table of {values} values has no rows of {dim}")));
    }
    let (limit, four_rows) = (device.max_buffer_bytes(), (4 * dim.next_multiple_of(4) * value_bytes) as u64);
    let chunk_rows = (limit / four_rows) as usize * 4;
    if chunk_rows == 0 {
        return Err(GpuError::TooLarge { name: "four rows of a table".to_owned(), bytes: four_rows, limit });
    }
    let mut chunks = Vec::new();
    for first in (0..table.rows(dim)).step_by(chunk_rows) {
        let rows = chunk_rows.min(table.rows(dim) - first);
        let range = first * dim..(first + rows) * dim;
        let buffer = match table {
            Table::F32(values) => upload(device, bytemuck::cast_slice(&padded(&values[range], rows, dim))).await?,
            Table::F16(values) => upload(device, bytemuck::cast_slice(&padded(&values[range], rows, dim))).await?,
        };
        chunks.push(GpuWeight { buffer, shape: (rows, dim), precision, overflow: None });
    }
    Ok(chunks)
}

/// Copies bytes to a new storage buffer.
async fn upload(device: &Device, bytes: &[u8]) -> Result<wgpu::Buffer, GpuError> {
    let (size, limit) = (bytes.len() as u64, device.max_buffer_bytes());
    if size > limit {
        return Err(GpuError::TooLarge { name: "a weight".to_owned(), bytes: size, limit });
    }
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
    let work = || {
        let buffer = device.raw.create_buffer(&wgpu::BufferDescriptor { label: Some("weight"), size, usage, mapped_at_creation: false });
        device.queue.write_buffer(&buffer, 0, bytes);
        // Sends the copy off now, or the staging memory of a whole tower would pile up.
        device.queue.submit([]);
        buffer
    };
    device.guarded("uploading weights", work).await
}

/// Rounding would still make 65,504 of a little more, but a model whose weights get there is not meant for f16. NaN does not fit.
fn fits_f16(value: f32) -> bool {
    value.abs() <= f32::from(half::f16::MAX)
}

/// `[n, k]` with zeros to the right and below, up to multiples of 4; a copy only if there is something to pad.
pub(super) fn padded<T: Copy + Default>(values: &[T], n: usize, k: usize) -> Cow<'_, [T]> {
    let (padded_n, padded_k) = (n.next_multiple_of(4), k.next_multiple_of(4));
    if (padded_n, padded_k) == (n, k) {
        return Cow::Borrowed(values);
    }
    let mut padded = vec![T::default(); padded_n * padded_k];
    for (to, from) in padded.chunks_exact_mut(padded_k).zip(values.chunks_exact(k)) {
        to[..k].copy_from_slice(from);
    }
    Cow::Owned(padded)
}
