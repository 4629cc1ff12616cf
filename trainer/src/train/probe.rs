//! A short measurement of how fast a device trains, and small changes to a fresh model.

use burn::tensor::{Device, Tensor};
use polyglance::config::ModelConfig;
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::platform::Stopwatch;
use polyglance::text::Tokens;

use super::TrainError;
use crate::losses::{StepOptions, loss_and_gradients};
use crate::model::Siglip;
use crate::optim::map_flat;
use crate::recipe::{Recipe, training_flops};

/// Pairs of the measured batch.
const PAIRS: usize = 4;
/// Blocks of the measured towers: enough to outweigh what surrounds them.
const BLOCKS: usize = 2;

/// Operations per second of a training step of this architecture's widths, on few blocks, few pairs and a small vocabulary.
///
/// # Errors
/// The device fails.
pub fn probe_speed(recipe: &Recipe, config: &ModelConfig, device: &Device) -> Result<f64, TrainError> {
    let mut shallow = *config;
    shallow.vision.tower.depth = BLOCKS.min(config.vision.tower.depth);
    shallow.text.tower.depth = BLOCKS.min(config.text.tower.depth);
    shallow.text.vocab_size = 2;
    let model = Siglip::init(&shallow, recipe.seed, device)?;
    let side = config.vision.table_side();
    let patches = Patches { grid: Grid { rows: side, cols: side }, values: vec![0.5; side * side * config.vision.patch_dim()] };
    let images = PatchBatch::pack(&vec![patches; PAIRS]);
    let texts = vec![Tokens { ids: vec![1; config.text.positions], truncated: false }; PAIRS];
    let step = || loss_and_gradients(&model, &images, &texts, StepOptions::default());
    // The first step compiles kernels and fills caches.
    step()?;
    let watch = Stopwatch::start();
    step()?;
    Ok(PAIRS as f64 * training_flops(&shallow, side * side, 1) / watch.elapsed_secs())
}

/// Gives a fresh model another logit bias.
pub fn set_logit_bias(model: &mut Siglip, bias: f32) {
    map_flat(model, |name, values| if name == "logit_bias" { Tensor::full_like(&values, bias) } else { values });
}
