//! Running a prepared plan on one batch: write the inputs, encode the steps, read the outputs.

use std::sync::PoisonError;

use super::GpuError;
use super::device::Device;
use super::operands::{self, stride};
use super::prepared::{Prepared, Work, buffer};
use super::readback::{Running, start_mapping};
use super::uniforms::{Counts, QueryTile, query_tiles};
use crate::encoder::plan::{BatchData, Buffer, BufferId, Plan};
use crate::kernels::Counts as Live;

/// A batch that fits its plan.
pub(super) struct Batch<'a> {
    plan: &'a Plan,
    data: &'a BatchData<'a>,
    live: Live,
    segment_tokens: Vec<usize>,
    tiles: Vec<QueryTile>,
    counts: Counts,
}

impl<'a> Batch<'a> {
    /// Checks `data` against the plan.
    pub(super) fn new(plan: &'a Plan, data: &'a BatchData<'a>) -> Result<Self, GpuError> {
        let bad = |reason: String| Err(GpuError::Unsupported(reason));
        if data.offsets.first() != Some(&0) || data.offsets.windows(2).any(|pair| pair[0] >= pair[1]) {
            return bad("the offsets of a batch begin at 0 and rise, as no segment is empty".to_owned());
        }
        let segment_tokens: Vec<usize> = data.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
        let live = Live { tokens: segment_tokens.iter().sum(), segments: segment_tokens.len() };
        if live.tokens > plan.capacity.tokens || live.segments > plan.capacity.segments {
            return bad(format!("a batch of {live:?} exceeds the plan's {:?}", plan.capacity));
        }
        let tiles = query_tiles(data.offsets);
        let counts = Counts { tokens: live.tokens as u32, segments: live.segments as u32, query_tiles: tiles.len() as u32 };
        let batch = Self { plan, data, live, segment_tokens, tiles, counts };
        for &(id, values) in data.inputs {
            let (name, expected) = (batch.buffer(id)?.name, batch.rows(id)? * batch.buffer(id)?.cols);
            if values.len() != expected {
                return bad(format!("input {name} has {} values instead of {expected}", values.len()));
            }
        }
        data.outputs.iter().try_for_each(|&id| batch.buffer(id).map(|_| ()))?;
        Ok(batch)
    }

    /// Whether there is nothing to compute.
    pub(super) fn is_empty(&self) -> bool {
        self.live.segments == 0
    }

    fn buffer(&self, BufferId(id): BufferId) -> Result<&'a Buffer, GpuError> {
        self.plan.buffers.get(id).ok_or_else(|| GpuError::Unsupported(format!("the plan has no buffer {id}")))
    }

    fn rows(&self, id: BufferId) -> Result<usize, GpuError> {
        Ok(self.live.rows(self.buffer(id)?.rows))
    }

    /// Bytes of a buffer's live rows in GPU memory.
    fn bytes(&self, id: BufferId) -> u64 {
        self.buffer(id).map_or(0, |buffer| (self.live.rows(buffer.rows) * stride(buffer.cols) * size_of::<f32>()) as u64)
    }
}

/// Runs the plan and returns the outputs' live rows.
pub(super) async fn run(device: &Device, prepared: &Prepared, batch: &Batch<'_>) -> Result<Vec<Vec<f32>>, GpuError> {
    let bytes: u64 = batch.data.outputs.iter().map(|&id| batch.bytes(id)).sum();
    // An empty range cannot be mapped, and without a mapping nothing would wait for a run that returns nothing.
    let bytes = bytes.max(wgpu::MAP_ALIGNMENT);
    let running = device.guarded("running a batch", || submit(device, prepared, batch, bytes)).await?;
    let (outputs, readback) = running.read(device, bytes, |view| unpack(view, batch)).await?;
    *prepared.readback.lock().unwrap_or_else(PoisonError::into_inner) = Some(readback);
    outputs
}

/// Puts a whole run into the queue without waiting for any of it.
///
/// Nothing awaits between the first write and the last submission, and the lock is held: a second run of the same plan would otherwise
/// overwrite this one's inputs. After the last submission the queue's own order protects them.
fn submit(device: &Device, prepared: &Prepared, batch: &Batch<'_>, bytes: u64) -> Running {
    let mut pool = prepared.readback.lock().unwrap_or_else(PoisonError::into_inner);
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let readback = pool.take().filter(|buffer| buffer.size() >= bytes).unwrap_or_else(|| buffer(device, "readback", bytes, usage));
    write_inputs(device, prepared, batch);
    let mut submissions = Vec::new();
    let mut first = 0;
    for end in submission_ends(device, batch) {
        let mut encoder = device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("steps") });
        encode(device, prepared, batch, first..end, &mut encoder);
        if end == batch.plan.steps.len() {
            copy_outputs(prepared, batch, &readback, &mut encoder);
        }
        submissions.push(device.queue.submit([encoder.finish()]));
        first = end;
    }
    let mapping = start_mapping(&readback, bytes);
    Running { submissions, readback, mapping }
}

/// Writes the live rows of all inputs, padding their rows to whole vec4s.
fn write_inputs(device: &Device, prepared: &Prepared, batch: &Batch<'_>) {
    let write = |buffer: &wgpu::Buffer, bytes: &[u8]| device.queue.write_buffer(buffer, 0, bytes);
    write(&prepared.counts, bytemuck::bytes_of(&batch.counts));
    write(&prepared.offsets, bytemuck::cast_slice(batch.data.offsets));
    write(&prepared.query_tiles, bytemuck::cast_slice(&batch.tiles));
    for &(id, values) in batch.data.inputs {
        // `Batch::new` has checked every id.
        let (Some(memory), Ok(buffer)) = (prepared.memory_of(id), batch.buffer(id)) else { continue };
        if stride(buffer.cols) == buffer.cols {
            write(memory, bytemuck::cast_slice(values));
        } else {
            let padding = vec![0.0; stride(buffer.cols) - buffer.cols];
            let padded: Vec<f32> = values.chunks_exact(buffer.cols).flat_map(|row| row.iter().chain(&padding)).copied().collect();
            write(memory, bytemuck::cast_slice(&padded));
        }
    }
}

/// Steps after which to submit, the last one included: watchdogs end what keeps a GPU busy for about two seconds.
fn submission_ends(device: &Device, batch: &Batch<'_>) -> Vec<usize> {
    // About a fifth of a second at the speed of the slowest of each kind.
    let budget: u64 = match device.summary.device_type {
        wgpu::DeviceType::DiscreteGpu => 400_000_000_000,
        wgpu::DeviceType::Cpu => 1_000_000_000,
        _ => 20_000_000_000,
    };
    let (mut ends, mut flops) = (Vec::new(), 0);
    for (index, step) in batch.plan.steps.iter().enumerate() {
        flops += step.flops(batch.live, &batch.segment_tokens);
        if flops >= budget {
            ends.push(index + 1);
            flops = 0;
        }
    }
    if ends.last() != Some(&batch.plan.steps.len()) {
        ends.push(batch.plan.steps.len());
    }
    ends
}

/// Records some of the steps. The live row counts decide each grid, so rows without data cost nothing.
fn encode(device: &Device, prepared: &Prepared, batch: &Batch<'_>, range: std::ops::Range<usize>, encoder: &mut wgpu::CommandEncoder) {
    let limit = device.raw.limits().max_compute_workgroups_per_dimension;
    // Dispatches share a pass; a copy has to end it.
    let mut pass: Option<wgpu::ComputePass<'static>> = None;
    let steps = batch.plan.steps.iter().zip(&prepared.work).take(range.end).skip(range.start);
    for (step, work) in steps {
        match work {
            Work::Dispatch { pipeline, bind_group } => {
                let (across, down) = operands::fold(operands::workgroups(step, batch.counts, prepared.gemm), limit);
                let begin = || encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
                let pass = pass.get_or_insert_with(begin);
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(across, down, 1);
            }
            Work::Copy { from, to } => {
                pass = None;
                if let (Some(from_memory), Some(to_memory)) = (prepared.memory_of(*from), prepared.memory_of(*to)) {
                    encoder.copy_buffer_to_buffer(from_memory, 0, to_memory, 0, batch.bytes(*to));
                }
            }
        }
    }
}

/// Gathers the outputs' live rows in the order they were asked for.
fn copy_outputs(prepared: &Prepared, batch: &Batch<'_>, readback: &wgpu::Buffer, encoder: &mut wgpu::CommandEncoder) {
    let mut at = 0;
    for &id in batch.data.outputs {
        if let Some(memory) = prepared.memory_of(id) {
            encoder.copy_buffer_to_buffer(memory, 0, readback, at, batch.bytes(id));
        }
        at += batch.bytes(id);
    }
}

/// Cuts the bytes that were read into the outputs and drops their rows' padding.
fn unpack(mut bytes: &[u8], batch: &Batch<'_>) -> Result<Vec<Vec<f32>>, GpuError> {
    let cut = |&id: &BufferId| {
        let buffer = batch.buffer(id)?;
        let (own, rest) = bytes.split_at(batch.bytes(id) as usize);
        bytes = rest;
        Ok(operands::unpadded(own, buffer.cols))
    };
    batch.data.outputs.iter().map(cut).collect()
}
