//! The gradient of a batch, in as much memory as allowed.
//!
//! The loss touches embeddings only, and its gradient with respect to them is known in closed form. So a batch is embedded, the loss
//! gives d loss / d embeddings, and the towers pull that back: at once, or micro-batch by micro-batch with a second forward pass
//! (gradient caching; exact, since no image sees another before the loss), or block by block (activation checkpointing).

use std::borrow::Cow;

use burn::module::Module;
use burn::tensor::Tensor;
use polyglance::image::{PatchBatch, Patches};
use polyglance::text::Tokens;

use super::sigmoid::{PairGradients, sigmoid_loss_gradients};
use crate::model::{ModelError, ModelGradients, Siglip, TokenRows, Trace, pull_back, to_host};
use crate::ops::Products;

/// How a step is computed: what may be kept in memory, which changes nothing, and in what precision.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepOptions {
    /// Rows of logits at a time; all if absent.
    pub loss_chunk: Option<usize>,
    /// Images whose activations, and those of their texts, are held at a time; all if absent.
    pub micro_batch: Option<usize>,
    /// Whether blocks are computed again in the backward pass.
    pub recompute_blocks: bool,
    /// What the towers' products are computed in. Unlike the others, it changes the result: by its rounding.
    pub products: Products,
    /// The vision tower does not move: no graph is kept for it, and it gets no gradient.
    pub locked_images: bool,
    /// The same for the text tower and the token table.
    pub locked_texts: bool,
}

impl StepOptions {
    fn by_tower(&self, keep: Keep) -> [Keep; 2] {
        [self.locked_images, self.locked_texts].map(|locked| if locked { Keep::Nothing } else { keep })
    }
}

/// A batch's loss and gradient.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// The sigmoid loss.
    pub loss: f32,
    /// Its gradient.
    pub gradients: ModelGradients,
}

/// Loss and gradient of a batch. Every image has equally many texts, in the order of the images.
///
/// # Errors
/// Images and texts that do not belong together or that the model cannot read; a device that fails.
pub fn loss_and_gradients(model: &Siglip, images: &PatchBatch, texts: &[Tokens], options: StepOptions) -> Result<StepResult, ModelError> {
    options.products.scope(|| in_scope(model, images, texts, options))
}

fn in_scope(model: &Siglip, images: &PatchBatch, texts: &[Tokens], options: StepOptions) -> Result<StepResult, ModelError> {
    if texts.is_empty() || !texts.len().is_multiple_of(images.len()) {
        return Err(ModelError::Pairs { images: images.len(), texts: texts.len() });
    }
    let micro_batches = match options.micro_batch {
        Some(size) if size > 0 && size < images.len() => split(images, texts, size),
        _ => vec![(Cow::Borrowed(images), texts)],
    };
    let cached = micro_batches.len() > 1;
    let embed = |(images, texts): &MicroBatch<'_>, keep| Pending::embed(model, images, texts, options.by_tower(keep));
    let keep = if options.recompute_blocks { Keep::BlockInputs } else { Keep::Graph };
    let first = if cached { Keep::Nothing } else { keep };
    let pending = micro_batches.iter().map(|pairs| embed(pairs, first)).collect::<Result<Vec<_>, _>>()?;
    let PairGradients { loss, images: image_gradients, texts: text_gradients, logit_scale, logit_bias } = sigmoid_loss_gradients(
        Tensor::cat(pending.iter().map(|pending| pending.images.value()).collect(), 0),
        Tensor::cat(pending.iter().map(|pending| pending.texts.value()).collect(), 0),
        model.logit_scale.val(),
        model.logit_bias.val(),
        options.loss_chunk.unwrap_or(images.len()),
    );
    // The loss's mean makes gradients small. f16 would lose them below 6e-8, so that they are divided by the number of texts last.
    let magnified = if options.products == Products::F16 { texts.len().next_power_of_two() as f64 } else { 1.0 };
    let (image_gradients, text_gradients) = (image_gradients * magnified, text_gradients * magnified);
    let mut gradients = ModelGradients::default();
    let mut starts = [0, 0];
    for (micro_batch, pending) in micro_batches.iter().zip(pending) {
        let (images, texts) = micro_batch;
        let image_gradients = image_gradients.clone().narrow(0, starts[0], images.len());
        let text_gradients = text_gradients.clone().narrow(0, starts[1], texts.len());
        let pending = if cached { embed(micro_batch, keep)? } else { pending };
        pending.pull_back(model, images, [image_gradients, text_gradients], &mut gradients)?;
        starts = [starts[0] + images.len(), starts[1] + texts.len()];
    }
    if magnified != 1.0 {
        gradients.scale(magnified.recip());
    }
    gradients.add_dense("logit_scale", logit_scale);
    gradients.add_dense("logit_bias", logit_bias);
    let loss = to_host(loss)?.first().copied().unwrap_or(f32::NAN);
    Ok(StepResult { loss, gradients })
}

/// Some images of a batch and their texts.
pub(crate) type MicroBatch<'a> = (Cow<'a, PatchBatch>, &'a [Tokens]);

/// A batch in pieces of `size` images; the last may have fewer.
pub(crate) fn split<'a>(images: &PatchBatch, texts: &'a [Tokens], size: usize) -> Vec<MicroBatch<'a>> {
    let each = texts.len() / images.len().max(1);
    let patch_dim = images.values().len() / images.tokens().max(1);
    let mut rest = images.values();
    let mut patches = images.grids().iter().map(|&grid| {
        let (values, after) = rest.split_at(grid.patches() * patch_dim);
        rest = after;
        Patches { grid, values: values.to_vec() }
    });
    let mut pack = |len| Cow::Owned(PatchBatch::pack(&patches.by_ref().take(len).collect::<Vec<_>>()));
    texts.chunks(size * each.max(1)).map(|texts| (pack(texts.len() / each.max(1)), texts)).collect()
}

/// A micro-batch between its embedding and its backward pass.
struct Pending {
    images: Embedded,
    texts: Embedded,
    tokens: TokenRows,
}

/// What is kept of a forward pass.
#[derive(Clone, Copy)]
enum Keep {
    /// Everything.
    Graph,
    /// What entered each block.
    BlockInputs,
    /// Embeddings only: the pass has to be repeated.
    Nothing,
}

/// Embeddings, and what was kept of their computation: their own graph if there is no trace.
struct Embedded {
    embeddings: Tensor<2>,
    trace: Option<Trace>,
}

impl Embedded {
    /// The embeddings outside any graph.
    fn value(&self) -> Tensor<2> {
        self.embeddings.clone().without_autodiff()
    }
}

impl Pending {
    fn embed(model: &Siglip, images: &PatchBatch, texts: &[Tokens], [keep_images, keep_texts]: [Keep; 2]) -> Result<Self, ModelError> {
        let tokens = model.token_rows(texts)?;
        let whole = |embeddings| Embedded { embeddings, trace: None };
        let traced = |(embeddings, trace)| Embedded { embeddings, trace: Some(trace) };
        let images = match keep_images {
            Keep::Graph => whole(model.embed_images(images)?),
            Keep::BlockInputs => traced(model.trace_images(images)?),
            Keep::Nothing => whole(model.valid().embed_images(images)?),
        };
        let texts = match keep_texts {
            Keep::Graph => whole(model.embed_token_rows(&tokens)),
            Keep::BlockInputs => traced(model.trace_texts(&tokens)),
            Keep::Nothing => whole(model.valid().embed_token_rows(&tokens.clone().plain())),
        };
        Ok(Self { images, texts, tokens })
    }

    /// Adds the micro-batch's gradients, given those of its embeddings.
    fn pull_back(
        self,
        model: &Siglip,
        batch: &PatchBatch,
        [image_gradient, text_gradient]: [Tensor<2>; 2],
        into: &mut ModelGradients,
    ) -> Result<(), ModelError> {
        let Self { images, texts, tokens } = self;
        match images.trace {
            Some(trace) => model.pull_back_images(batch, trace, image_gradient, into)?,
            None if images.embeddings.is_tracked() => into.collect(model, &mut pull_back(images.embeddings, image_gradient)),
            None => {}
        }
        match texts.trace {
            Some(trace) => model.pull_back_texts(&tokens, trace, text_gradient, into)?,
            None if texts.embeddings.is_tracked() => {
                let mut gradients = pull_back(texts.embeddings, text_gradient);
                into.collect(model, &mut gradients);
                into.collect_tokens(&tokens, &mut gradients)?;
            }
            None => {}
        }
        Ok(())
    }
}
