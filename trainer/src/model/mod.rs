//! The model as differentiable modules: the mathematics of the library's encoder, on packed batches, with gradients.
//!
//! [`Siglip`] holds the towers and the loss's two scalars; [`Siglip::load`] and [`Siglip::save`] speak checkpoint folders. A parameter's
//! path in the module is its Hugging Face name ([`Siglip::visit_parameters`]). [`ModelGradients`] carries gradients by these names, and
//! the token table's by rows.

mod error;
mod folder;
mod gradients;
mod init;
mod layers;
mod parameters;
mod recompute;
mod text;
mod vision;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use polyglance::config::{ModelConfig, VisionGeometry};
use polyglance::image::{Grid, PatchBatch};
use polyglance::text::Tokens;

use crate::ops::Packing;
pub use error::ModelError;
pub use folder::{Export, ExportPrecision, NamedValues, write_folder};
pub(crate) use gradients::to_host;
pub use gradients::{ModelGradients, RowGradients};
pub use init::initial_values;
pub use layers::{Embedding, Encoder, EncoderLayer, LayerNorm, Linear, Mlp, SelfAttention};
pub use parameters::{ParameterMapper, ParameterVisitor, TOKEN_TABLE};
pub use recompute::Trace;
pub(crate) use recompute::pull_back;
pub use text::{TextEmbeddings, TextModel, TokenRows};
pub use vision::{PoolingAttention, PoolingHead, VisionEmbeddings, VisionModel};

/// A SigLIP model.
#[derive(Module, Debug)]
pub struct Siglip {
    /// t′: the logarithm of the temperature, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
    /// b, `[1]`.
    pub logit_bias: Param<Tensor<1>>,
    /// Images.
    pub vision_model: VisionModel,
    /// Texts.
    pub text_model: TextModel,
    #[module(skip)]
    config: ModelConfig,
}

impl Siglip {
    /// An untrained model. With [`Device::autodiff`] its parameters record gradients.
    ///
    /// # Errors
    /// None in practice: all tensors that the configuration calls for are drawn.
    pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        Self::from_values(config, initial_values(config, seed), device)
    }

    /// A model whose every value is 0.
    pub(crate) fn zeros(config: &ModelConfig, device: &Device) -> Self {
        Self {
            logit_scale: layers::zeros([1], device),
            logit_bias: layers::zeros([1], device),
            vision_model: VisionModel::zeros(&config.vision, device),
            text_model: TextModel::zeros(&config.text, device),
            config: *config,
        }
    }

    /// What the model looks like.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where it computes; without autodiff for a model from [`Module::valid`].
    pub fn device(&self) -> Device {
        self.logit_scale.val().device()
    }

    /// Embeddings `[images, dim]` of unit length.
    ///
    /// # Errors
    /// A batch that this model cannot read.
    pub fn embed_images(&self, batch: &PatchBatch) -> Result<Tensor<2>, ModelError> {
        let (x, packing) = self.start_images(batch)?;
        let x = layers::run_layers(&self.vision_model.encoder.layers, x, &packing);
        Ok(layers::unit_rows(self.vision_model.pool(x, &packing)))
    }

    /// Embeddings `[texts, dim]` of unit length.
    ///
    /// # Errors
    /// Token ids outside the vocabulary, or texts of another length than the model's.
    pub fn embed_texts(&self, tokens: &[Tokens]) -> Result<Tensor<2>, ModelError> {
        Ok(self.embed_token_rows(&self.token_rows(tokens)?))
    }

    /// The rows of the token table that these texts use. To train the table, embed with [`embed_token_rows`](Self::embed_token_rows) and
    /// ask for the gradient of [`TokenRows::rows`].
    ///
    /// # Errors
    /// As [`embed_texts`](Self::embed_texts).
    pub fn token_rows(&self, tokens: &[Tokens]) -> Result<TokenRows, ModelError> {
        self.check_texts(tokens)?;
        Ok(self.text_model.embeddings.gather(tokens, &self.device()))
    }

    /// Embeddings `[texts, dim]` of unit length.
    pub fn embed_token_rows(&self, tokens: &TokenRows) -> Tensor<2> {
        let packing = self.text_model.packing(tokens.texts());
        let x = layers::run_layers(self.text_model.layers(), self.text_model.embed(tokens), &packing);
        layers::unit_rows(self.text_model.pool(x, &packing))
    }

    /// The residual stream before the first block, and which rows are whose.
    fn start_images(&self, batch: &PatchBatch) -> Result<(Tensor<2>, Packing), ModelError> {
        self.check_images(batch)?;
        let device = self.device();
        Ok((self.vision_model.embed(batch, &device), Packing::new(batch.offsets(), &device)))
    }

    fn check_images(&self, batch: &PatchBatch) -> Result<(), ModelError> {
        let (vision, values) = (&self.config.vision, batch.values().len());
        if batch.is_empty() || values != batch.tokens() * vision.patch_dim() {
            return Err(ModelError::Patches { tokens: batch.tokens(), values, patch_dim: vision.patch_dim() });
        }
        let side = vision.table_side();
        let square = Grid { rows: side, cols: side };
        match batch.grids().iter().find(|&&grid| grid != square) {
            Some(&grid) if matches!(vision.geometry, VisionGeometry::Fixed { .. }) => Err(ModelError::Grid { grid, side }),
            _ => Ok(()),
        }
    }

    fn check_texts(&self, tokens: &[Tokens]) -> Result<(), ModelError> {
        let text = &self.config.text;
        if let Some(tokens) = tokens.iter().find(|tokens| tokens.ids.len() != text.positions) {
            return Err(ModelError::TextLength { len: tokens.ids.len(), positions: text.positions });
        }
        match tokens.iter().flat_map(|tokens| &tokens.ids).find(|&&id| id as usize >= text.vocab_size) {
            Some(&id) => Err(ModelError::TokenId { id, vocab_size: text.vocab_size }),
            None if tokens.is_empty() => Err(ModelError::NoTexts),
            None => Ok(()),
        }
    }
}
