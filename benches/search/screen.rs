//! Where frames are drawn as in a window, without one.

use std::time::Duration;

use eframe::egui::{Context, FullOutput};
use eframe::egui_wgpu::{RenderState, RendererOptions, ScreenDescriptor, WgpuConfiguration, WgpuSetup};
use eframe::wgpu;
use polyglance::platform::block_on;

use crate::peers::Failure;

/// A texture on the GPU.
pub(crate) struct Screen {
    state: RenderState,
    target: wgpu::TextureView,
    descriptor: ScreenDescriptor,
}

impl Screen {
    /// One of `[width, height]` pixels, on the adapter that a window would take.
    pub(crate) fn new(size: [u32; 2]) -> Result<Self, Failure> {
        let setup = WgpuSetup::without_display_handle();
        let instance = block_on(setup.new_instance());
        let configuration = WgpuConfiguration { wgpu_setup: setup, ..WgpuConfiguration::default() };
        let state = block_on(RenderState::create(&configuration, &instance, None, RendererOptions::default()))?;
        let [width, height] = size;
        let target = state.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("screen"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: state.target_format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        let target = target.create_view(&wgpu::TextureViewDescriptor::default());
        Ok(Self { state, target, descriptor: ScreenDescriptor { pixels_per_point: 1.0, size_in_pixels: size } })
    }

    /// Of the adapter.
    pub(crate) fn name(&self) -> String {
        self.state.adapter.get_info().name
    }

    /// Draws what a pass of the interface gave, and waits until it is there.
    pub(crate) fn draw(&mut self, context: &Context, output: FullOutput) -> Result<(), Failure> {
        let RenderState { device, queue, .. } = &self.state;
        let mut renderer = self.state.renderer.write();
        let mut textures = output.textures_delta;
        for (id, deltas) in textures.set.drain() {
            deltas.iter().for_each(|delta| renderer.update_texture(device, queue, id, delta));
        }
        let meshes = context.tessellate(output.shapes, output.pixels_per_point);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let buffers = renderer.update_buffers(device, queue, &mut encoder, &meshes, &self.descriptor);
        let attachment = wgpu::RenderPassColorAttachment {
            view: &self.target,
            resolve_target: None,
            ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
            depth_slice: None,
        };
        let pass = wgpu::RenderPassDescriptor { color_attachments: &[Some(attachment)], ..wgpu::RenderPassDescriptor::default() };
        renderer.render(&mut encoder.begin_render_pass(&pass).forget_lifetime(), &meshes, &self.descriptor);
        queue.submit(buffers.into_iter().chain([encoder.finish()]));
        for id in textures.free.drain() {
            renderer.free_texture(&id);
        }
        device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(Duration::from_secs(60)) })?;
        Ok(())
    }
}
