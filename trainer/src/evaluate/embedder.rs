//! What is judged: anything that embeds images and texts.

use image::RgbImage;
use polyglance::encoder::{Encoder, ImageOutputs};
use polyglance::image::{PatchBatch, Patches, Resampling};
use polyglance::platform::block_on;
use polyglance::tasks::Batcher;
use polyglance::text::{Tokenizer, Tokens, ensemble};
use polyglance::{config::VisionConfig, image::ImageError};

use super::classes::Prompts;
use super::fitting::Fitting;
use super::held_out::HeldOutImage;
use super::{EvaluationError, parallel_map};

/// A model under test.
pub trait Embedder {
    /// Values of an embedding.
    fn dim(&self) -> usize;
    /// One row per image.
    ///
    /// # Errors
    /// What the model cannot compute, in words.
    fn embed_images(&mut self, batch: &PatchBatch) -> Result<Vec<f32>, EvaluationError>;
    /// One row per text.
    ///
    /// # Errors
    /// What the model cannot compute, in words.
    fn embed_texts(&mut self, tokens: &[Tokens]) -> Result<Vec<f32>, EvaluationError>;
}

impl Embedder for Encoder {
    fn dim(&self) -> usize {
        self.config().embedding_dim()
    }

    fn embed_images(&mut self, batch: &PatchBatch) -> Result<Vec<f32>, EvaluationError> {
        let features = block_on(self.encode_images(batch, ImageOutputs::default()));
        features.map(|features| features.embeds).map_err(|error| EvaluationError::Model(error.to_string()))
    }

    fn embed_texts(&mut self, tokens: &[Tokens]) -> Result<Vec<f32>, EvaluationError> {
        let features = block_on(self.encode_texts(tokens));
        features.map(|features| features.embeds).map_err(|error| EvaluationError::Model(error.to_string()))
    }
}

/// How images are prepared for a model.
#[derive(Clone, Copy, Debug)]
pub struct Preparation {
    /// The model's vision tower.
    pub vision: VisionConfig,
    /// How images are fitted into patches.
    pub fitting: Fitting,
    /// Most patches of an image; `None` for the model's own number.
    pub max_num_patches: Option<usize>,
    /// How images are resized.
    pub resampling: Resampling,
}

/// Tokens of one call to the model.
const BATCH_TOKENS: usize = 8_192;
/// Images that are decoded at a time.
const CHUNK: usize = 64;

/// Embeddings `[images, dim]`, and the mean number of patches of an image.
pub(super) fn embed_images(
    model: &mut dyn Embedder,
    images: &[&HeldOutImage],
    preparation: &Preparation,
) -> Result<(Vec<f32>, f64), EvaluationError> {
    embed_pictures(model, images, preparation, |_, picture| picture)
}

/// The same of what `alter` makes of each picture, which it gets with its index.
pub(super) fn embed_pictures(
    model: &mut dyn Embedder,
    images: &[&HeldOutImage],
    preparation: &Preparation,
    alter: impl Fn(usize, RgbImage) -> RgbImage + Sync + Send,
) -> Result<(Vec<f32>, f64), EvaluationError> {
    let mut embeds = Vec::with_capacity(images.len() * model.dim());
    let mut tokens = 0;
    let mut batcher = Batcher::new(BATCH_TOKENS);
    let indexed: Vec<(usize, &HeldOutImage)> = images.iter().copied().enumerate().collect();
    for chunk in indexed.chunks(CHUNK) {
        for patches in parallel_map(chunk, |(index, image)| prepare(image, preparation, |picture| alter(*index, picture))) {
            let patches = patches?;
            let count = patches.grid.patches();
            tokens += count;
            if let Some(batch) = batcher.push(patches, count) {
                embeds.extend(model.embed_images(&PatchBatch::pack(&batch))?);
            }
        }
    }
    if let Some(batch) = batcher.take() {
        embeds.extend(model.embed_images(&PatchBatch::pack(&batch))?);
    }
    Ok((embeds, tokens as f64 / images.len().max(1) as f64))
}

fn prepare(image: &HeldOutImage, preparation: &Preparation, alter: impl FnOnce(RgbImage) -> RgbImage) -> Result<Patches, EvaluationError> {
    let Preparation { vision, fitting, max_num_patches, resampling } = preparation;
    let patches = fitting.patches(&alter(image.decode()?), vision, *max_num_patches, *resampling);
    patches.map_err(|source: ImageError| EvaluationError::Image { name: image.name.clone(), source })
}

/// Embeddings `[texts, dim]`.
pub(super) fn embed_texts(model: &mut dyn Embedder, tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<f32>, EvaluationError> {
    let mut embeds = Vec::with_capacity(texts.len() * model.dim());
    let tokens = texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>, _>>()?;
    let per_call = tokens.first().map_or(1, |text| (BATCH_TOKENS / text.ids.len().max(1)).max(1));
    for batch in tokens.chunks(per_call) {
        embeds.extend(model.embed_texts(batch)?);
    }
    Ok(embeds)
}

/// One embedding per candidate, averaged over its prompts.
pub(super) fn embed_classes(model: &mut dyn Embedder, tokenizer: &Tokenizer, prompts: &Prompts) -> Result<Vec<f32>, EvaluationError> {
    let dim = model.dim();
    let embeds = embed_texts(model, tokenizer, &prompts.texts)?;
    Ok(ensemble(&embeds, dim, prompts.per_class)?)
}
