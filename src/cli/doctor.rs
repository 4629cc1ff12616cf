//! `polyglance doctor`: what this machine has to run models on, whether it computes rightly, and how fast.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use polyglance::config::{ModelConfig, PRESETS};
use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, ImageOutputs, Precision, VisionTower};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::kernels::Counts;
use polyglance::platform::{Stopwatch, block_on};
use polyglance::weights::{ByteSource, Checkpoint, MemorySource, OutputTensor, OutputValues, expected_tensors, safetensors_bytes};

use super::console::print;
use super::exit::Outcome;
use super::hub;

const HELP: &str = "\
The self-check runs one block and the pooling head of a base model with made-up weights on every device, and compares the embeddings
with the CPU's. The speed figure comes from the same run; a whole model adds little overhead.

Example:
  polyglance doctor";

/// Show devices, their features and limits, check that they compute rightly, and measure them briefly.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct DoctorArgs {
    /// List devices only, without running anything on them.
    #[arg(long)]
    list: bool,
}

/// The checkpoint whose dimensions the self-check uses.
const PRESET: &str = "google/siglip2-base-patch16-naflex";
const GRID: Grid = Grid { rows: 16, cols: 16 };
/// Pictures in one measured batch: 4,096 tokens. Software adapters, a hundred times slower than the CPU backend, get one.
const BATCH: usize = 16;
/// Largest relative error of an embedding that passes: sums run in another order on each device.
const TOLERANCE: f64 = 1e-4;
const MEASURED_SECS: f64 = 1.0;

pub(crate) fn run(args: &DoctorArgs) -> Result<Outcome> {
    print(&format!("polyglance {} on {} {}\n", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH))?;
    print(&format!("models are kept in {}\n", hub::cache()))?;
    let checkup = Checkup::new()?;
    let mut failed = 0;
    if args.list {
        print("CPU\n")?;
    } else {
        let result = checkup.run(DeviceChoice::Cpu, BATCH)?;
        print(&format!("{}\n  {}\n", result.device, result.speed(&checkup)))?;
        failed += usize::from(!result.passed());
    }
    let adapters = adapters();
    if adapters.is_empty() {
        print("no GPU adapter, or a build without the feature `gpu`\n")?;
    }
    for adapter in adapters {
        print(&adapter.description)?;
        if !args.list {
            let (line, passed) = checkup.adapter(&adapter);
            print(&format!("  {line}\n"))?;
            failed += usize::from(!passed);
        }
    }
    ensure!(failed == 0, "{failed} of the devices did not pass the self-check: name another with --device");
    Ok(Outcome::Done)
}

/// A GPU, or a driver that imitates one.
struct Adapter {
    name: String,
    software: bool,
    description: String,
}

/// Parts of the names of features that matter to compute shaders; the rest is about drawing.
#[cfg(feature = "gpu")]
const COMPUTE_FEATURES: [&str; 7] = ["atomic", "cooperative", "immediates", "pipeline_cache", "shader_", "subgroup", "timestamp"];

#[cfg(feature = "gpu")]
fn adapters() -> Vec<Adapter> {
    let adapters = block_on(polyglance::gpu::adapters());
    let describe = |adapter: polyglance::gpu::AdapterSummary| {
        let limits = &adapter.limits;
        let names = adapter.features.iter_names().map(|(name, _)| name.to_lowercase());
        let features: Vec<String> = names.filter(|name| COMPUTE_FEATURES.iter().any(|part| name.contains(part))).collect();
        let mut text = format!("{adapter}\n");
        if adapter.is_software() {
            text.push_str("  a software adapter: used only when named, because the CPU backend is faster\n");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  limits: buffers of {} MiB, bindings of {} MiB, {} bindings a stage, {} KiB of workgroup memory, {} invocations",
            limits.max_buffer_size >> 20,
            limits.max_storage_buffer_binding_size >> 20,
            limits.max_storage_buffers_per_shader_stage,
            limits.max_compute_workgroup_storage_size >> 10,
            limits.max_compute_invocations_per_workgroup,
        );
        let _ = writeln!(text, "  features for computing: {}", if features.is_empty() { "none".to_owned() } else { features.join(", ") });
        Adapter { name: adapter.name.clone(), software: adapter.is_software(), description: text }
    };
    adapters.into_iter().map(describe).collect()
}

#[cfg(not(feature = "gpu"))]
fn adapters() -> Vec<Adapter> {
    Vec::new()
}

/// A small model in memory and what the CPU makes of a few pictures.
struct Checkup {
    checkpoint: Arc<Checkpoint>,
    pictures: Vec<Patches>,
    expected: Vec<f32>,
}

struct Measured {
    device: String,
    error: f64,
    pictures_per_sec: f64,
}

impl Measured {
    fn passed(&self) -> bool {
        self.error <= TOLERANCE
    }

    fn speed(&self, checkup: &Checkup) -> String {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        let gflops = self.pictures_per_sec * flops(checkup.checkpoint.config()) / 1e9;
        let whole = PRESETS.iter().find(|preset| preset.id == PRESET).map_or(f64::INFINITY, |preset| flops(&preset.config) / 1e9);
        format!(
            "self-check {verdict} (relative error {:.1e}); {gflops:.0} GFLOP/s, about {:.2} pictures a second on {PRESET} at {} patches",
            self.error,
            gflops / whole,
            GRID.patches()
        )
    }
}

/// Of one picture through the vision tower.
fn flops(config: &ModelConfig) -> f64 {
    let counts = Counts { tokens: GRID.patches(), segments: 1 };
    VisionTower::new(&config.vision).plan(counts, None).flops(&[GRID.patches()]) as f64
}

impl Checkup {
    fn new() -> Result<Self> {
        let checkpoint = Arc::new(block_on(made_up_checkpoint())?);
        let dim = checkpoint.config().vision.patch_dim();
        let picture = |index: usize| Patches { grid: GRID, values: noise(index as u64 + 1).take(GRID.patches() * dim).collect() };
        let mut checkup = Self { checkpoint, pictures: (0..BATCH).map(picture).collect(), expected: Vec::new() };
        // One at a time, while the measured run is one batch: on the CPU itself the check is that batching changes nothing.
        let mut encoder = checkup.encoder(DeviceChoice::Cpu)?;
        for picture in &checkup.pictures {
            let features = block_on(encoder.encode_images(&PatchBatch::pack(std::slice::from_ref(picture)), ImageOutputs::default()))?;
            checkup.expected.extend(features.embeds);
        }
        Ok(checkup)
    }

    fn encoder(&self, device: DeviceChoice) -> Result<Encoder> {
        Ok(block_on(Encoder::new(Arc::clone(&self.checkpoint), EncoderOptions { device, precision: Precision::F32 }))?)
    }

    fn run(&self, device: DeviceChoice, count: usize) -> Result<Measured> {
        let mut encoder = self.encoder(device)?;
        let batch = PatchBatch::pack(self.pictures.get(..count).context("more pictures than were made")?);
        let embeds = block_on(encoder.encode_images(&batch, ImageOutputs::default()))?.embeds;
        let watch = Stopwatch::start();
        let mut encoded = 0;
        while watch.elapsed_secs() < MEASURED_SECS {
            block_on(encoder.encode_images(&batch, ImageOutputs::default()))?;
            encoded += count;
        }
        let pictures_per_sec = encoded as f64 / watch.elapsed_secs();
        Ok(Measured { device: encoder.device().to_string(), error: relative_error(&embeds, &self.expected), pictures_per_sec })
    }

    /// The line about an adapter, and whether it passed.
    fn adapter(&self, adapter: &Adapter) -> (String, bool) {
        let count = if adapter.software { 1 } else { BATCH };
        match self.run(DeviceChoice::Named(adapter.name.clone()), count) {
            // After a failed check of its own the encoder falls back to the CPU and says why.
            Ok(measured) if measured.device.starts_with("CPU") => (format!("self-check FAILED: {}", measured.device), false),
            Ok(measured) => (measured.speed(self), measured.passed()),
            Err(error) => (format!("self-check FAILED: {error:#}"), false),
        }
    }
}

/// The base model with one block a tower and few words, in memory.
async fn made_up_checkpoint() -> Result<Checkpoint> {
    let mut config = PRESETS.iter().find(|preset| preset.id == PRESET).context("the preset is missing")?.config;
    config.vision.tower.depth = 1;
    config.text.tower.depth = 1;
    config.text.vocab_size = 8;
    let specs = expected_tensors(&config);
    let values: Vec<Vec<f32>> = specs.iter().enumerate().map(|(index, spec)| weights(index as u64, &spec.shape)).collect();
    let tensors: Vec<OutputTensor<'_>> = specs
        .into_iter()
        .zip(&values)
        .map(|(spec, values)| OutputTensor { name: spec.name, shape: spec.shape, values: OutputValues::F32(values) })
        .collect();
    let bytes = safetensors_bytes(&tensors, &BTreeMap::new())?;
    let name = "model.safetensors".to_owned();
    let source: Arc<dyn ByteSource> = Arc::new(MemorySource::new(name.clone(), bytes));
    Ok(Checkpoint::from_sources(config.to_json().to_string().as_bytes(), vec![(name, source)]).await?)
}

/// Values of the size that keeps activations near one; vectors are kept away from zero, as LayerNorm gains are.
fn weights(seed: u64, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    match shape {
        [_, inputs] => noise(seed).map(|value| value * (3.0 / *inputs as f32).sqrt()).take(count).collect(),
        _ => noise(seed).map(|value| 1.0 + 0.2 * value).take(count).collect(),
    }
}

/// Uniform in -1 to 1, the same on every machine (SplitMix64).
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

/// ‖a − b‖ / ‖b‖ over the rows that `a` has. NaN if any value is.
fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        difference += (f64::from(*a) - f64::from(*b)).powi(2);
        norm += f64::from(*b).powi(2);
    }
    (difference / norm).sqrt()
}
