//! Known answer for a device: its gradients of a tiny batch against those of the CPU, before a run trusts it.
//!
//! burn has open reports of wrong gradients on GPUs when only some parameters require them, and of NaN from fused kernels.

use burn::tensor::Device;
use polyglance::config::{ModelConfig, VisionGeometry};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::text::Tokens;

use super::TrainError;
use super::step::{StepPlan, batch_gradients};
use crate::model::{ModelGradients, Siglip, to_host};
use crate::optim::global_norm;
use crate::random::Stream;

/// Largest ‖g − g'‖ / max(‖g'‖, 1e-3 of the global norm) that passes. f32 on any device stays below 1e-3 and reduced precision of matrix
/// cores below 1e-2, while a wrong gradient is wrong by its own size.
const TOLERANCE: f64 = 2e-2;

/// Compares the gradient of every parameter on `model`'s device with flex's, which rounds the operands of products in the same way.
///
/// # Errors
/// [`TrainError::Gate`] names the worst parameter; also a device that fails.
pub fn compare_with_flex(model: &Siglip, plan: &StepPlan) -> Result<(), TrainError> {
    let (images, texts) = batch(model.config());
    let found = batch_gradients(model, &images, &texts, plan)?.gradients;
    let flex = Siglip::from_values(model.config(), model.to_values()?, &Device::flex().autodiff())?;
    let expected = batch_gradients(&flex, &images, &texts, plan)?.gradients;
    let floor = 1e-3 * global_norm(&expected)?;
    let (difference, parameter) = worst(found, expected, floor)?;
    if difference <= TOLERANCE { Ok(()) } else { Err(TrainError::Gate { parameter, difference }) }
}

fn worst(mut found: ModelGradients, expected: ModelGradients, floor: f64) -> Result<(f64, String), TrainError> {
    let mut worst = (relative(&found.tokens.values, &expected.tokens.values, floor), crate::model::TOKEN_TABLE.to_owned());
    for (name, expected) in expected.dense {
        let found = found.dense.remove(&name).map(to_host).transpose()?.unwrap_or_default();
        let difference = relative(&found, &to_host(expected)?, floor);
        // A NaN is never smaller, and so stays the worst.
        if difference.is_nan() || difference > worst.0 {
            worst = (difference, name);
        }
    }
    Ok(worst)
}

fn relative(found: &[f32], expected: &[f32], floor: f64) -> f64 {
    let square = |difference: f64| difference * difference;
    let size = expected.iter().map(|value| square(f64::from(*value))).sum::<f64>().sqrt();
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let difference = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum::<f64>().sqrt();
    difference / size.max(floor).max(f64::MIN_POSITIVE)
}

/// Two images, of different shapes if the model allows it, and two texts.
fn batch(config: &ModelConfig) -> (PatchBatch, Vec<Tokens>) {
    let (vision, text) = (&config.vision, &config.text);
    let side = vision.table_side();
    let grids = match vision.geometry {
        VisionGeometry::Fixed { .. } => [Grid { rows: side, cols: side }; 2],
        VisionGeometry::NaFlex { .. } => [Grid { rows: 2, cols: 3 }, Grid { rows: 4, cols: 1 }],
    };
    let noise = Stream::new(0, "train/gate");
    let mut index = 0..;
    let mut next = || index.next().map_or(0.0, |index| noise.uniform(index));
    let patches =
        grids.map(|grid| Patches { grid, values: (0..grid.patches() * vision.patch_dim()).map(|_| 2.0 * next() - 1.0).collect() });
    let mut token = || (next() * text.vocab_size as f32) as u32;
    let texts =
        [5, 9].map(|len| Tokens { ids: (0..text.positions).map(|at| if at < len { token() } else { 0 }).collect(), truncated: false });
    (PatchBatch::pack(&patches), texts.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_that_are_wrong_missing_or_nan_fail() {
        assert_eq!(relative(&[3.0, 4.0], &[3.0, 4.0], 0.0), 0.0);
        assert_eq!(relative(&[3.0, 4.1], &[3.0, 4.1 - 1.0], 100.0), 0.01);
        assert!(relative(&[-3.0, -4.0], &[3.0, 4.0], 0.0) == 2.0 && relative(&[], &[3.0, 4.0], 0.0) > TOLERANCE);
        let gradients =
            |value| ModelGradients { tokens: crate::model::RowGradients { ids: vec![0], values: vec![value] }, ..Default::default() };
        let (difference, _) = worst(gradients(f32::NAN), gradients(1.0), 0.0).expect("nothing is on a device");
        assert!(difference.is_nan(), "{difference}");
    }
}
