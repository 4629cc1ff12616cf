//! Kernels that run by themselves, outside a plan: their operands are no packed batch.

use super::GpuError;
use super::device::Device;
use super::operands;
use super::pipelines::{Pipelines, Variant};
use super::prepared::{STORAGE, UNIFORM, buffer};
use super::readback::{Running, start_mapping};
use super::uniforms::Counts;

/// One dispatch of one kernel.
pub(super) struct Dispatch<'a> {
    pub(super) kernel: Variant,
    /// What the shader finds at binding 0, at most 16 bytes.
    pub(super) uniform: &'a [u8],
    pub(super) counts: Counts,
    /// What it reads, from binding 2 on. Its output comes last.
    pub(super) inputs: Vec<Input<'a>>,
    pub(super) output_bytes: u64,
    pub(super) workgroups: u64,
    /// Whether the host wants the output.
    pub(super) is_result: bool,
}

/// Something that a shader reads.
pub(super) enum Input<'a> {
    /// Copied to the GPU for this dispatch.
    Bytes(&'a [u8]),
    /// There already.
    Buffer(&'a wgpu::Buffer),
    /// What an earlier dispatch has written, by its index.
    Earlier(usize),
}

impl<'a> Input<'a> {
    pub(super) fn words<T: bytemuck::Pod>(values: &'a [T]) -> Self {
        Self::Bytes(bytemuck::cast_slice(values))
    }
}

impl Dispatch<'_> {
    /// Refuses what the adapter cannot bind.
    fn check(&self, limit: u64) -> Result<(), GpuError> {
        let copied = self.inputs.iter().map(|input| match input {
            Input::Bytes(bytes) => bytes.len() as u64,
            Input::Buffer(_) | Input::Earlier(_) => 0,
        });
        match copied.chain([self.output_bytes]).find(|&bytes| bytes > limit) {
            Some(bytes) => Err(GpuError::TooLarge { name: format!("an operand of {}", self.kernel.name()), bytes, limit }),
            None => Ok(()),
        }
    }

    /// Makes the buffers, binds them and records the dispatch. Returns the buffer of the output.
    fn encode(
        &self,
        device: &Device,
        pipeline: &wgpu::ComputePipeline,
        earlier: &[wgpu::Buffer],
        encoder: &mut wgpu::CommandEncoder,
    ) -> wgpu::Buffer {
        let filled = |bytes: &[u8], usage| {
            let buffer = buffer(device, self.kernel.name(), bytes.len() as u64, usage);
            device.queue.write_buffer(&buffer, 0, bytes);
            buffer
        };
        let output = buffer(device, self.kernel.name(), self.output_bytes, STORAGE);
        let inputs = self.inputs.iter().filter_map(|input| match *input {
            Input::Bytes(bytes) => Some(filled(bytes, STORAGE)),
            Input::Buffer(buffer) => Some(buffer.clone()),
            Input::Earlier(index) => earlier.get(index).cloned(),
        });
        let uniforms = [self.uniform, bytemuck::bytes_of(&self.counts)].map(|bytes| filled(bytes, UNIFORM));
        let buffers: Vec<wgpu::Buffer> = uniforms.into_iter().chain(inputs).chain([output.clone()]).collect();
        let resources = buffers.iter().map(wgpu::Buffer::as_entire_binding);
        let entries: Vec<_> = (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let layout = &pipeline.get_bind_group_layout(0);
        let bind_group =
            device.raw.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(self.kernel.name()), layout, entries: &entries });
        let limit = device.raw.limits().max_compute_workgroups_per_dimension;
        let (across, down) = operands::fold(self.workgroups, limit);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(across, down, 1);
        output
    }
}

/// Runs the dispatches one after the other and returns the bytes of those that are results. Each is a submission of its own, so that a watchdog
/// sees them one by one.
pub(super) async fn run(device: &Device, pipelines: &Pipelines, dispatches: &[Dispatch<'_>]) -> Result<Vec<Vec<u8>>, GpuError> {
    let mut compiled = Vec::with_capacity(dispatches.len());
    for dispatch in dispatches {
        dispatch.check(device.max_buffer_bytes())?;
        compiled.push(pipelines.get(device, dispatch.kernel).await?);
    }
    let results = || dispatches.iter().filter(|dispatch| dispatch.is_result);
    let bytes = results().map(|dispatch| dispatch.output_bytes).sum();
    let submit = || {
        let readback = buffer(device, "readback", bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let (mut submissions, mut outputs, mut at) = (Vec::with_capacity(dispatches.len()), Vec::new(), 0);
        for (dispatch, pipeline) in dispatches.iter().zip(&compiled) {
            let mut encoder = device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(dispatch.kernel.name()) });
            let output = dispatch.encode(device, pipeline, &outputs, &mut encoder);
            if dispatch.is_result {
                encoder.copy_buffer_to_buffer(&output, 0, &readback, at, dispatch.output_bytes);
                at += dispatch.output_bytes;
            }
            submissions.push(device.queue.submit([encoder.finish()]));
            outputs.push(output);
        }
        let mapping = start_mapping(&readback, bytes);
        Running { submissions, readback, mapping }
    };
    let running = device.guarded("running a kernel", submit).await?;
    let cut = |mut bytes: &[u8]| {
        let outputs = results().map(|dispatch| {
            let (own, rest) = bytes.split_at(dispatch.output_bytes as usize);
            bytes = rest;
            own.to_vec()
        });
        outputs.collect()
    };
    running.read(device, bytes, cut).await.map(|(outputs, _)| outputs)
}
