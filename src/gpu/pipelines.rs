//! Compiled shaders, made when a plan first needs them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::GpuError;
use super::device::Device;
use super::shaders::Shader;
use super::weight::WeightPrecision;
use super::{GemmVariant, shaders};
use crate::encoder::plan::Step;
use crate::kernels::Epilogue;

/// A shader with the value of its overridable constant.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    shader: &'static Shader,
    constant: Option<(&'static str, u32)>,
}

impl Variant {
    /// Ranks the rows of a table that is stored in `precision`.
    pub(super) const fn scores_top_k(precision: WeightPrecision) -> Self {
        let shader = match precision {
            WeightPrecision::F32 => &shaders::SCORES_TOP_K_F32,
            WeightPrecision::F16 => &shaders::SCORES_TOP_K_F16,
        };
        Self { shader, constant: None }
    }

    /// Resizes an image in width.
    pub(super) const fn resize_columns() -> Self {
        Self { shader: &shaders::RESIZE_COLUMNS, constant: None }
    }

    /// Resizes an image in height and makes patches of it.
    pub(super) const fn image_to_patches() -> Self {
        Self { shader: &shaders::IMAGE_TO_PATCHES, constant: None }
    }

    /// The shader's name.
    pub(super) const fn name(self) -> &'static str {
        self.shader.name
    }

    /// Names the shader that runs `step`, or `None` for a copy, which needs no shader. `precision` is that of the step's matrix.
    pub(super) fn of(step: &Step, gemm: GemmVariant, precision: WeightPrecision) -> Option<Self> {
        let plain = |shader| Some(Self { shader, constant: None });
        match step {
            Step::Gemm { shape, .. } => {
                // As numbered in `shaders/shared/gemm_epilogue.wgsl`.
                let epilogue = match shape.epilogue {
                    Epilogue::Store => 0,
                    Epilogue::Gelu => 1,
                    Epilogue::Accumulate => 2,
                };
                Some(Self { shader: gemm.shader(precision), constant: Some(("epilogue", epilogue)) })
            }
            Step::Attention { shape, .. } => {
                Some(Self { shader: &shaders::ATTENTION, constant: Some(("head4", (shape.head_dim / 4) as u32)) })
            }
            Step::LayerNorm { .. } => plain(&shaders::LAYER_NORM),
            Step::PoolingAttention { .. } => plain(&shaders::POOLING_ATTENTION),
            Step::SelectLast { .. } => plain(&shaders::SELECT_LAST),
            Step::L2Normalize { .. } => plain(&shaders::L2_NORMALIZE),
            Step::Copy { .. } => None,
        }
    }
}

/// The pipelines made so far, by shader and constant.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<(&'static str, Option<u32>), wgpu::ComputePipeline>>);

impl Pipelines {
    /// The pipeline of a variant. Compiling takes tens of milliseconds; awaiting the driver's verdict lets a browser's worker breathe.
    pub(super) async fn get(&self, device: &Device, variant: Variant) -> Result<wgpu::ComputePipeline, GpuError> {
        let key = (variant.shader.name, variant.constant.map(|(_, value)| value));
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(pipeline) = made {
            return Ok(pipeline);
        }
        let doing = format!("compiling {}", variant.shader.name);
        let pipeline = device.guarded(&doing, || compile(&device.raw, variant)).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

/// Makes a module and a pipeline whose bind group layout follows from the shader.
fn compile(device: &wgpu::Device, variant: Variant) -> wgpu::ComputePipeline {
    let label = Some(variant.shader.name);
    let source = wgpu::ShaderSource::Wgsl(variant.shader.wgsl.into());
    let descriptor = wgpu::ShaderModuleDescriptor { label, source };
    // wgpu would add a counter to every loop, which slows the innermost ones and keeps drivers from unrolling them.
    let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: the shaders are this crate's own, every loop of theirs counts or doubles up to a bound that is fixed before it (or
    // halves a number until it is zero), and all other checks stay on.
    let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
    let constants: Vec<(&str, f64)> = variant.constant.iter().map(|&(name, value)| (name, f64::from(value))).collect();
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}
