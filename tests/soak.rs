//! The same encoder for a long time: random batches one after the other, as a server would see them.
//!
//! A normal run does a few rounds. `cargo xtask test --full` does 400 times as many and prints what it measured.

use polyglance::encoder::{Encoder, ImageOutputs};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::platform::block_on;
use polyglance::text::Tokens;

use crate::reference::noise;
use crate::support::{cases, checkpoint, on_cpu, worst_row_error};

/// A whole number from 1 to `max`, small ones more often than large ones.
fn size(seed: u64, max: usize) -> usize {
    let share = noise(seed, 1, 0.5)[0].abs().min(1.0);
    1 + ((max - 1) as f32 * share * share) as usize
}

fn random_patches(encoder: &Encoder, seed: u64) -> Patches {
    let grid = Grid { rows: size(seed, 16), cols: size(seed + 1, 16) };
    let mut values = noise(seed + 2, grid.patches() * encoder.config().vision.patch_dim(), 0.5);
    values.iter_mut().for_each(|value| *value = value.clamp(-1.0, 1.0));
    Patches { grid, values }
}

fn random_tokens(encoder: &Encoder, seed: u64) -> Tokens {
    let config = encoder.config().text;
    let id = |value: f32| (value.abs() * config.vocab_size as f32) as u32 % config.vocab_size as u32;
    Tokens { ids: noise(seed, config.positions, 0.3).into_iter().map(id).collect(), truncated: false }
}

/// A batch of images and one of texts; the last of each, which has all others before it, must get alone what it got in the batch.
/// Returns the larger error.
fn round(encoder: &mut Encoder, seed: u64) -> f64 {
    let dim = encoder.config().embedding_dim();
    let patches: Vec<_> = (0..=size(seed, 8) as u64).map(|i| random_patches(encoder, seed + 10 * (i + 1))).collect();
    let batch = block_on(encoder.encode_images(&PatchBatch::pack(&patches), ImageOutputs::default())).unwrap();
    let alone = block_on(encoder.encode_images(&PatchBatch::pack(&patches[patches.len() - 1..]), ImageOutputs::default())).unwrap();
    let of_image = worst_row_error(&batch.embeds[batch.embeds.len() - dim..], &alone.embeds, dim);
    let tokens: Vec<_> = (0..=size(seed + 1, 6) as u64).map(|i| random_tokens(encoder, seed + 100 * (i + 1))).collect();
    let batch = block_on(encoder.encode_texts(&tokens)).unwrap();
    let alone = block_on(encoder.encode_texts(&tokens[tokens.len() - 1..])).unwrap();
    of_image.max(worst_row_error(&batch.embeds[batch.embeds.len() - dim..], &alone.embeds, dim))
}

fn soak(encoder: &mut Encoder, rounds: u32) {
    let worst = (0..rounds).map(|seed| round(encoder, u64::from(seed) * 1000)).fold(0.0, f64::max);
    println!("{rounds} rounds on {}: the worst batch differs from its single image or text by {worst:.1e}", encoder.device());
    assert!(worst <= 1e-5, "{worst:.1e}");
}

#[test]
fn random_batches_agree_with_single_inputs() {
    for model in ["naflex72", "outlier"] {
        soak(&mut on_cpu(&checkpoint(model)), cases(10));
    }
}

#[cfg(feature = "gpu")]
#[test]
fn random_batches_agree_with_single_inputs_on_a_gpu() {
    let precision = polyglance::encoder::Precision::F32;
    let Some(mut encoder) = crate::support::on_gpu(&checkpoint("outlier"), precision) else { return };
    soak(&mut encoder, cases(2));
}
