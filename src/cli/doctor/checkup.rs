//! A made-up model that every device runs: whether its numbers are those of transformers, and how fast they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use polyglance::config::{ModelConfig, PRESETS};
use polyglance::encoder::{DeviceChoice, DeviceDescription, Encoder, EncoderOptions, ImageOutputs, Precision, VisionTower};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::kernels::Counts;
use polyglance::platform::{Stopwatch, block_on};
use polyglance::weights::{ByteSource, Checkpoint, MemorySource, OutputTensor, OutputValues, expected_tensors, safetensors_bytes};

/// The model whose dimensions the made-up one has, with one block a tower.
const PRESET: &str = "google/siglip2-base-patch16-naflex";
const GRID: Grid = Grid { rows: 16, cols: 16 };
/// The first values of the first picture's embedding, by transformers in f64 (tests/oracle/doctor.py).
const EXPECTED: [f32; 8] = [0.05171961, -0.01791725, 0.01345742, 0.04691093, 0.05138642, 0.02282959, 0.00098345, -0.03573985];
/// Largest relative error that passes: sums run in another order on each device.
const TOLERANCE: f64 = 1e-4;
const MEASURED_SECS: f64 = 1.0;

/// The model and some pictures, in memory.
pub(super) struct Checkup {
    checkpoint: Arc<Checkpoint>,
    pictures: Vec<Patches>,
}

/// What one device made of them.
pub(super) struct Measured {
    pub(super) device: DeviceDescription,
    error: f64,
    pictures_per_sec: f64,
}

impl Checkup {
    /// Makes up the model and `count` pictures.
    pub(super) fn new(count: usize) -> Result<Self> {
        let checkpoint = Arc::new(block_on(made_up_checkpoint())?);
        let values = GRID.patches() * checkpoint.config().vision.patch_dim();
        let picture = |index: usize| Patches { grid: GRID, values: noise(index as u64 + 1).take(values).collect() };
        Ok(Self { checkpoint, pictures: (0..count).map(picture).collect() })
    }

    /// Runs the first `count` pictures as one batch, again and again for a second.
    pub(super) fn run(&self, device: DeviceChoice, count: usize) -> Result<Measured> {
        let mut encoder = block_on(Encoder::new(Arc::clone(&self.checkpoint), EncoderOptions { device, precision: Precision::F32 }))?;
        let batch = PatchBatch::pack(self.pictures.get(..count).unwrap_or(&self.pictures));
        // The first run uploads the weights, so it is not measured.
        let embeds = block_on(encoder.encode_images(&batch, ImageOutputs::default()))?.embeds;
        let watch = Stopwatch::start();
        let mut encoded = 0;
        while watch.elapsed_secs() < MEASURED_SECS {
            block_on(encoder.encode_images(&batch, ImageOutputs::default()))?;
            encoded += batch.len();
        }
        let pictures_per_sec = encoded as f64 / watch.elapsed_secs();
        Ok(Measured { device: encoder.device().clone(), error: relative_error(&embeds), pictures_per_sec })
    }

    /// One line about a device's result.
    pub(super) fn describe(&self, measured: &Measured) -> String {
        let verdict = if measured.passed() { "passed" } else { "FAILED" };
        let gflops = measured.pictures_per_sec * flops(self.checkpoint.config()) / 1e9;
        let whole = PRESETS.iter().find(|preset| preset.id == PRESET).map_or(f64::INFINITY, |preset| flops(&preset.config) / 1e9);
        format!(
            "self-check {verdict} (relative error {:.1e}); {gflops:.0} GFLOP/s, about {:.2} pictures a second on {PRESET} at {} patches",
            measured.error,
            gflops / whole,
            GRID.patches()
        )
    }
}

impl Measured {
    /// Whether the numbers are right.
    pub(super) fn passed(&self) -> bool {
        self.error <= TOLERANCE
    }
}

/// Of one picture through the vision tower.
fn flops(config: &ModelConfig) -> f64 {
    let counts = Counts { tokens: GRID.patches(), segments: 1 };
    VisionTower::new(&config.vision).plan(counts, None).flops(&[GRID.patches()]) as f64
}

/// ‖got − expected‖ / ‖expected‖; NaN if anything is missing or not a number.
fn relative_error(got: &[f32]) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (index, &expected) in EXPECTED.iter().enumerate() {
        let got = got.get(index).copied().unwrap_or(f32::NAN);
        difference += (f64::from(got) - f64::from(expected)).powi(2);
        norm += f64::from(expected).powi(2);
    }
    (difference / norm).sqrt()
}

/// The checkpoint as a file in memory: the checkup reads it as any other is read.
async fn made_up_checkpoint() -> Result<Checkpoint> {
    let mut config = PRESETS.iter().find(|preset| preset.id == PRESET).context("the preset is missing")?.config;
    config.vision.tower.depth = 1;
    config.text.tower.depth = 1;
    config.text.vocab_size = 8;
    let specs = expected_tensors(&config);
    let values: Vec<Vec<f32>> = specs.iter().map(|spec| weights(&spec.name, &spec.shape)).collect();
    let tensor = |(spec, values): (polyglance::weights::TensorSpec, _)| OutputTensor {
        name: spec.name,
        shape: spec.shape,
        values: OutputValues::F32(values),
    };
    let tensors: Vec<OutputTensor<'_>> = specs.into_iter().zip(values.iter().map(Vec::as_slice)).map(tensor).collect();
    let bytes = safetensors_bytes(&tensors, &BTreeMap::new())?;
    let name = "model.safetensors".to_owned();
    let source: Arc<dyn ByteSource> = Arc::new(MemorySource::new(name.clone(), bytes));
    Ok(Checkpoint::from_sources(config.to_json().to_string().as_bytes(), vec![(name, source)]).await?)
}

/// Matrices that keep activations near one; vectors around one, as gains of LayerNorm are.
fn weights(name: &str, shape: &[usize]) -> Vec<f32> {
    let values = noise(fnv1a64(name)).take(shape.iter().product());
    match shape {
        [_, inputs] => {
            let scale = (3.0 / *inputs as f32).sqrt();
            values.map(|value| value * scale).collect()
        }
        _ => values.map(|value| 1.0 + 0.2 * value).collect(),
    }
}

/// Seeds depend on a tensor's name, not on its place in a list.
fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_gives_the_numbers_of_transformers() {
        let checkup = Checkup::new(1).unwrap();
        let measured = checkup.run(DeviceChoice::Cpu, 1).unwrap();
        assert!(measured.error < 1e-5, "relative error {:.1e}", measured.error);
        assert!(checkup.describe(&measured).starts_with("self-check passed"));
    }

    #[test]
    fn other_numbers_fail() {
        let wrong = |error| Measured {
            device: DeviceDescription { backend: "CPU", name: String::new(), precision: "f32", reason: None },
            error,
            pictures_per_sec: 1.0,
        };
        let mut close = EXPECTED;
        close[3] += 1e-4;
        assert!(!wrong(relative_error(&close)).passed());
        assert!(!wrong(relative_error(&EXPECTED[..7])).passed());
        assert!(wrong(relative_error(&EXPECTED)).passed());
    }
}
