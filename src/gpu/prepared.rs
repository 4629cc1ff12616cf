//! A plan made ready for a device: buffers, uniforms and bind groups, built once and used for every batch that fits.

use std::sync::Mutex;

use super::device::Device;
use super::operands::{self, Operand};
use super::pipelines::{Pipelines, Variant};
use super::uniforms::{self, Counts, QueryTile};
use super::weight::{GpuWeight, WeightPrecision};
use super::{GemmVariant, GpuError};
use crate::encoder::plan::{BufferId, Plan, Slots, Step};

/// What runs one step.
pub(super) enum Work {
    /// A compute shader.
    Dispatch { pipeline: wgpu::ComputePipeline, bind_group: wgpu::BindGroup },
    /// No shader: the queue copies.
    Copy { from: BufferId, to: BufferId },
}

/// A plan and everything on the device that running it needs.
pub(super) struct Prepared {
    /// What it was made of, to recognise it again.
    plan: Plan,
    weights: Vec<GpuWeight>,
    pub(super) gemm: GemmVariant,
    slots: Slots,
    /// One buffer for each slot.
    memory: Vec<wgpu::Buffer>,
    pub(super) counts: wgpu::Buffer,
    pub(super) offsets: wgpu::Buffer,
    pub(super) query_tiles: wgpu::Buffer,
    /// One entry for each step of the plan.
    pub(super) work: Vec<Work>,
    /// A buffer to read results through, when no run is using it. Holding the lock also keeps two runs from mixing their inputs.
    pub(super) readback: Mutex<Option<wgpu::Buffer>>,
}

impl Prepared {
    /// Compiles what is missing, then allocates and binds everything under one error scope, so that a plan is either whole or an error.
    pub(super) async fn new(
        device: &Device,
        pipelines: &Pipelines,
        gemm: GemmVariant,
        weights: &[GpuWeight],
        plan: &Plan,
    ) -> Result<Self, GpuError> {
        let slots = plan.slots();
        operands::check(plan, &slots, weights)?;
        let slot_bytes = slot_bytes(plan, &slots, device.max_buffer_bytes())?;
        let mut compiled = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            compiled.push(match Variant::of(step, gemm, precision(step, weights)) {
                Some(variant) => Some(pipelines.get(device, variant).await?),
                None => None,
            });
        }
        let build = || {
            let memory = slot_bytes.iter().map(|&bytes| buffer(device, "matrix", bytes, STORAGE)).collect();
            let offset_bytes = (plan.capacity.segments + 1) * size_of::<u32>();
            let tile_bytes = uniforms::max_query_tiles(plan.capacity) * size_of::<QueryTile>();
            let mut prepared = Self {
                plan: plan.clone(),
                weights: weights.to_vec(),
                gemm,
                slots,
                memory,
                counts: buffer(device, "counts", size_of::<Counts>() as u64, UNIFORM),
                offsets: buffer(device, "offsets", offset_bytes as u64, STORAGE),
                query_tiles: buffer(device, "query tiles", tile_bytes as u64, STORAGE),
                work: Vec::new(),
                readback: Mutex::new(None),
            };
            prepared.work = prepared.bind(device, compiled);
            prepared
        };
        device.guarded("making room for a batch", build).await
    }

    /// Whether this was made for the same plan, weights and variant.
    pub(super) fn serves(&self, gemm: GemmVariant, weights: &[GpuWeight], plan: &Plan) -> bool {
        self.gemm == gemm && self.plan == *plan && self.weights == weights
    }

    /// The memory of a buffer; several may share it at different times. `None` if the plan has no such buffer.
    pub(super) fn memory_of(&self, BufferId(id): BufferId) -> Option<&wgpu::Buffer> {
        self.memory.get(*self.slots.of_buffer.get(id)?)
    }

    /// Makes one piece of work of each step. All uniforms lie in one buffer, at the alignment that the adapter asks for.
    fn bind(&self, device: &Device, compiled: Vec<Option<wgpu::ComputePipeline>>) -> Vec<Work> {
        let alignment = device.raw.limits().min_uniform_buffer_offset_alignment as usize;
        let uniforms: Vec<Vec<u8>> = self.plan.steps.iter().map(operands::uniform).collect();
        let mut packed = vec![0; uniforms.len().max(1) * alignment];
        for (slice, uniform) in packed.chunks_exact_mut(alignment).zip(&uniforms) {
            slice[..uniform.len()].copy_from_slice(uniform);
        }
        let buffer = buffer(device, "uniforms", packed.len() as u64, UNIFORM);
        device.queue.write_buffer(&buffer, 0, &packed);
        let bind_step = |((index, step), pipeline): ((usize, &Step), Option<wgpu::ComputePipeline>)| match (step, pipeline) {
            (_, Some(pipeline)) => {
                let offset = (index * alignment) as u64;
                let uniform = wgpu::BufferBinding { buffer: &buffer, offset, size: wgpu::BufferSize::new(UNIFORM_BYTES) };
                let bind_group = self.bind_group(device, &pipeline, step, uniform);
                Work::Dispatch { pipeline, bind_group }
            }
            (step, None) => {
                let mut ids = step.buffers();
                let id = |id: Option<BufferId>| id.unwrap_or(BufferId(0));
                Work::Copy { from: id(ids.next()), to: id(ids.next()) }
            }
        };
        self.plan.steps.iter().enumerate().zip(compiled).map(bind_step).collect()
    }

    /// Binds uniform and counts at 0 and 1, then the operands. `operands::check` has seen that all of them exist.
    fn bind_group(
        &self,
        device: &Device,
        pipeline: &wgpu::ComputePipeline,
        step: &Step,
        uniform: wgpu::BufferBinding<'_>,
    ) -> wgpu::BindGroup {
        let operands = operands::operands(step).into_iter().filter_map(|operand| match operand {
            Operand::Buffer(id) => self.memory_of(id),
            Operand::Weight(id) => self.weights.get(id.0).map(|weight| &weight.buffer),
            Operand::Offsets => Some(&self.offsets),
            Operand::QueryTiles => Some(&self.query_tiles),
        });
        let resources = [wgpu::BindingResource::Buffer(uniform), self.counts.as_entire_binding()];
        let resources = resources.into_iter().chain(operands.map(wgpu::Buffer::as_entire_binding));
        let entry = |(binding, resource)| wgpu::BindGroupEntry { binding, resource };
        let entries: Vec<_> = (0..).zip(resources).map(entry).collect();
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some(step.kernel()), layout: &pipeline.get_bind_group_layout(0), entries: &entries };
        device.raw.create_bind_group(&descriptor)
    }
}

/// Matrices are also written by the host and copied from.
pub(super) const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);
pub(super) const UNIFORM: wgpu::BufferUsages = wgpu::BufferUsages::UNIFORM.union(wgpu::BufferUsages::COPY_DST);

/// What a step's uniform is bound as; the largest has 12 bytes and some drivers want multiples of 16.
const UNIFORM_BYTES: u64 = 16;

/// A buffer that is never empty, because an empty one cannot be bound.
pub(super) fn buffer(device: &Device, label: &'static str, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.raw.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size: bytes.max(16), usage, mapped_at_creation: false })
}

/// Sizes of the plan's slots with rows padded to vec4s.
fn slot_bytes(plan: &Plan, slots: &Slots, limit: u64) -> Result<Vec<u64>, GpuError> {
    let mut bytes = vec![0; slots.bytes.len()];
    for (buffer, &slot) in plan.buffers.iter().zip(&slots.of_buffer) {
        let needed = (plan.capacity.rows(buffer.rows) * operands::stride(buffer.cols) * size_of::<f32>()) as u64;
        if needed > limit {
            return Err(GpuError::TooLarge { name: buffer.name.to_owned(), bytes: needed, limit });
        }
        bytes[slot] = needed.max(bytes[slot]);
    }
    Ok(bytes)
}

/// How the step's matrix is stored; only `gemm` has one.
fn precision(step: &Step, weights: &[GpuWeight]) -> WeightPrecision {
    match step {
        Step::Gemm { weight, .. } => weights.get(weight.0).map_or(WeightPrecision::F32, GpuWeight::precision),
        _ => WeightPrecision::F32,
    }
}
