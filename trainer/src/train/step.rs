//! Loss and gradient of one step.

use polyglance::image::PatchBatch;
use polyglance::text::Tokens;

use super::TrainError;
use crate::losses::{MicroBatch, StepOptions, StepResult, loss_and_gradients, split};
use crate::model::Siglip;
use crate::optim::Groups;
use crate::recipe::{Contrast, Recipe};

/// How a recipe wants gradients to be computed.
#[derive(Clone, Copy, Debug)]
pub struct StepPlan {
    options: StepOptions,
    contrast: Contrast,
    weight: f64,
}

impl StepPlan {
    /// From the recipe; a tower that is frozen whole is not differentiated.
    pub fn new(recipe: &Recipe, groups: &Groups) -> Self {
        let locked = |tower: &str| groups.iter().filter(|(name, _)| name.starts_with(tower)).all(|(_, group)| group.multiplier == 0.0);
        let options = StepOptions {
            loss_chunk: Some(recipe.losses.sigmoid_chunk).filter(|chunk| *chunk > 0),
            micro_batch: recipe.batch.micro_batch,
            recompute_blocks: recipe.model.recompute,
            products: recipe.device.products,
            locked_images: locked("vision_model."),
            locked_texts: locked("text_model."),
        };
        Self { options, contrast: recipe.batch.contrast, weight: recipe.losses.sigmoid }
    }
}

/// The weighted loss of a batch and its gradient.
///
/// # Errors
/// A batch that the model cannot read, or a device that fails.
pub fn batch_gradients(model: &Siglip, images: &PatchBatch, texts: &[Tokens], plan: &StepPlan) -> Result<StepResult, TrainError> {
    let mut result = match (plan.contrast, plan.options.micro_batch) {
        (Contrast::MicroBatch, Some(size)) if size < images.len() => accumulated(model, &split(images, texts, size), plan)?,
        _ => loss_and_gradients(model, images, texts, plan.options)?,
    };
    if plan.weight != 1.0 {
        result.loss *= plan.weight as f32;
        result.gradients.scale(plan.weight);
    }
    Ok(result)
}

/// The mean over images: a micro-batch counts by its size, as the last may be smaller.
fn accumulated(model: &Siglip, micro_batches: &[MicroBatch<'_>], plan: &StepPlan) -> Result<StepResult, TrainError> {
    let total: usize = micro_batches.iter().map(|(images, _)| images.len()).sum();
    let mut sum = StepResult { loss: 0.0, gradients: Default::default() };
    for (images, texts) in micro_batches {
        let mut part = loss_and_gradients(model, images, texts, StepOptions { micro_batch: None, ..plan.options })?;
        let share = images.len() as f64 / total as f64;
        part.gradients.scale(share);
        sum.loss += part.loss * share as f32;
        sum.gradients.add(part.gradients);
    }
    Ok(sum)
}
