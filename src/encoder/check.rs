//! The known-answer check: does this GPU, with its driver, compute what the CPU computes?
//!
//! Drivers miscompile shaders, overflow silently and lose precision. So before a GPU is trusted it runs one block and the MAP head of the
//! very model, at its real widths and with its real first layer, and the result is compared with the CPU backend's.

use super::EncoderError;
use super::backend::{self, Backend};
use super::plan::BatchData;
use super::vision::VisionTower;
use crate::config::VisionConfig;
use crate::cpu::CpuBackend;
use crate::kernels::Counts;
use crate::weights::Checkpoint;

/// Segments of the check: a single token, fewer than a workgroup, more than one.
const SEGMENT_TOKENS: [u32; 3] = [1, 24, 71];

/// Outputs that are compared.
const OUTPUTS: [&str; 3] = ["pooled", "embeds", "attention"];

/// The largest relative error of any output, ‖a − b‖₂ / ‖b‖₂.
pub(super) async fn relative_error<B: Backend>(candidate: &mut B, checkpoint: &Checkpoint) -> Result<f32, EncoderError> {
    let whole = checkpoint.config().vision;
    let mut config = whole;
    config.tower.depth = 1;
    let tower = VisionTower::new(&config);
    let got = run(candidate, &tower, &config, checkpoint).await?;
    let truth = run(&mut CpuBackend::default(), &tower, &config, checkpoint).await?;
    let error = |(got, truth): (&Vec<f32>, &Vec<f32>)| {
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
        let difference = square(&mut got.iter().zip(truth).map(|(a, b)| a - b));
        (difference / square(&mut truth.iter().copied()).max(f32::MIN_POSITIVE)).sqrt()
    };
    // `max` would drop a NaN, which is the one result that must not pass.
    Ok(got.iter().zip(&truth).map(error).fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst }))
}

async fn run<B: Backend>(
    backend: &mut B,
    tower: &VisionTower,
    config: &VisionConfig,
    checkpoint: &Checkpoint,
) -> Result<Vec<Vec<f32>>, EncoderError> {
    let mut offsets = vec![0];
    offsets.extend(SEGMENT_TOKENS.iter().scan(0, |end, tokens| {
        *end += tokens;
        Some(*end)
    }));
    let tokens = SEGMENT_TOKENS.iter().sum::<u32>() as usize;
    let plan = tower.plan(backend.capacity(Counts { tokens, segments: SEGMENT_TOKENS.len() }), None);
    let (patches, stream) = (pattern(tokens * config.patch_dim()), pattern(tokens * config.tower.width));
    let inputs = [("patches", &*patches), ("stream", &*stream)].map(|(name, values)| plan.find(name).map(|id| (id, values)));
    let inputs: Vec<_> = inputs.into_iter().flatten().collect();
    let outputs: Vec<_> = OUTPUTS.iter().filter_map(|name| plan.find(name)).collect();
    let weights = backend::upload(backend, tower.specs(), checkpoint).await?;
    // Before the answer is computed, so that it is the chosen way which is checked.
    backend.tune(&weights, &plan).await?;
    backend.run(&weights, &plan, &BatchData { offsets: &offsets, inputs: &inputs, outputs: &outputs }).await
}

/// Values spread over −1..1, the same on every machine.
fn pattern(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}
