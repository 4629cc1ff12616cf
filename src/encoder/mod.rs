//! From patches and tokens to embeddings: [`Encoder`].
//!
//! A tower describes its forward pass as a [`Plan`], a backend runs it. The encoder owns both, feeds them batches of any size, and
//! recovers from a lost device or exhausted memory without its caller noticing.

mod backend;
mod block;
#[cfg(feature = "gpu")]
mod check;
mod device;
mod error;
mod job;
pub mod plan;
mod pooling;
mod position;
mod text;
mod vision;
mod weights;

use std::sync::Arc;

pub use device::{DeviceChoice, DeviceDescription, EncoderOptions, Precision};
pub use error::EncoderError;
pub use plan::{BatchData, Buffer, BufferId, Plan, Role, Slots, Step, WeightId};
pub use position::{PositionTable, resize_weights};
pub use text::TextTower;
pub use vision::{HiddenLayer, VisionTower};
pub use weights::{Transform, WeightShape, WeightSpec};

use crate::config::ModelConfig;
use crate::image::PatchBatch;
use crate::text::Tokens;
use crate::weights::{Checkpoint, TOKEN_TABLE};
use job::{Job, Tower};

/// What [`Encoder::encode_images`] returns besides embeddings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageOutputs {
    /// Features of every patch at this layer.
    pub hidden: Option<HiddenLayer>,
    /// Attention weights of the MAP head.
    pub attention: bool,
}

/// A batch of N images, encoded. D is the embedding size, W the vision tower's width; rows of tokens are packed in the batch's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFeatures {
    /// `[N, D]`, unit length.
    pub embeds: Vec<f32>,
    /// `[N, D]`, the MAP head's output before normalisation.
    pub pooled: Vec<f32>,
    /// `[tokens, W]`, if asked for.
    pub hidden: Option<Vec<f32>>,
    /// `[tokens, heads]`, summing to 1 over each image's tokens, if asked for.
    pub attention: Option<Vec<f32>>,
    /// Where each image's tokens begin; N + 1 values.
    pub offsets: Vec<u32>,
}

/// A batch of M texts, encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextFeatures {
    /// `[M, D]`, unit length.
    pub embeds: Vec<f32>,
    /// `[M, D]`, before normalisation.
    pub pooled: Vec<f32>,
}

/// A model on a device. A tower's weights are loaded when it is first used.
pub struct Encoder {
    checkpoint: Arc<Checkpoint>,
    device: device::Device,
    vision: VisionTower,
    text: TextTower,
    image_positions: Option<PositionTable>,
    text_positions: Option<Vec<f32>>,
    logit_scale: f32,
    logit_bias: f32,
}

impl Encoder {
    /// Chooses the device and, on a GPU, checks that it computes this model's first block as the CPU does.
    ///
    /// # Errors
    /// The device that was asked for does not exist, or the checkpoint cannot be read.
    pub async fn new(checkpoint: Arc<Checkpoint>, options: EncoderOptions) -> Result<Self, EncoderError> {
        let device = device::Device::open(&options, &checkpoint).await?;
        Self::on(device, checkpoint).await
    }

    /// Any GPU in f16 with this gemm, on which `faults` happen before it is checked.
    #[cfg(feature = "gpu")]
    #[doc(hidden)]
    pub async fn faulty(
        checkpoint: Arc<Checkpoint>,
        gemm: crate::gpu::GemmVariant,
        faults: &[crate::gpu::Fault],
    ) -> Result<Self, EncoderError> {
        let device = device::Device::faulty(gemm, faults, &checkpoint).await?;
        Self::on(device, checkpoint).await
    }

    async fn on(device: device::Device, checkpoint: Arc<Checkpoint>) -> Result<Self, EncoderError> {
        let config = *checkpoint.config();
        let scalar = async |name| checkpoint.read(name).await.map(|values| values.first().copied().unwrap_or(0.0));
        let (logit_scale, logit_bias) = (scalar("logit_scale").await?, scalar("logit_bias").await?);
        Ok(Self {
            device,
            vision: VisionTower::new(&config.vision),
            text: TextTower::new(&config.text),
            image_positions: None,
            text_positions: None,
            logit_scale,
            logit_bias,
            checkpoint,
        })
    }

    /// The model's dimensions.
    pub fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    /// Where the model runs, in which precision, and why there.
    pub fn device(&self) -> &DeviceDescription {
        self.device.description()
    }

    /// Makes the GPU fail, to test the recovery.
    #[cfg(feature = "gpu")]
    #[doc(hidden)]
    pub fn inject(&self, fault: crate::gpu::Fault) {
        self.device.inject(fault);
    }

    /// t′: logits are exp(t′)·cos + b.
    pub fn logit_scale(&self) -> f32 {
        self.logit_scale
    }

    /// b: logits are exp(t′)·cos + b.
    pub fn logit_bias(&self) -> f32 {
        self.logit_bias
    }

    /// Encodes a batch of any size. Each image's result is independent of the others in the batch.
    ///
    /// # Errors
    /// Patches of another model's size, a layer that does not exist, weights that cannot be read, or a device that fails twice.
    pub async fn encode_images(&mut self, batch: &PatchBatch, want: ImageOutputs) -> Result<ImageFeatures, EncoderError> {
        let config = self.config().vision;
        if batch.values().len() != batch.tokens() * config.patch_dim() {
            return Err(EncoderError::PatchSize { expected: config.patch_dim() });
        }
        if let Some(HiddenLayer::Block(block)) = want.hidden
            && block >= config.tower.depth
        {
            return Err(EncoderError::NoSuchBlock { block, depth: config.tower.depth });
        }
        let stream = self.image_position_rows(batch).await?;
        let mut outputs = vec!["embeds", "pooled"];
        outputs.extend(want.hidden.map(|_| "hidden"));
        outputs.extend(want.attention.then_some("attention"));
        let job = Job {
            tower: Tower::Vision { tower: &self.vision, hidden: want.hidden },
            offsets: batch.offsets(),
            inputs: &[("patches", batch.values()), ("stream", &stream)],
            outputs: &outputs,
        };
        let mut results = self.device.run(&self.checkpoint, &job).await?.into_iter();
        let mut next = || results.next().unwrap_or_default();
        Ok(ImageFeatures {
            embeds: next(),
            pooled: next(),
            hidden: want.hidden.map(|_| next()),
            attention: want.attention.then(next),
            offsets: batch.offsets().to_vec(),
        })
    }

    /// An embedding `[tokens, D]` of unit length for every row of `hidden`, `[tokens, W]` of [`HiddenLayer::Last`]: what the MAP head
    /// makes of an image that has this token only. Nothing but the head's values is left of its attention then, as in MaskCLIP (Zhou et al. 2022,
    /// arXiv 2112.01071, section 3.2), and patches can be compared with words.
    ///
    /// # Errors
    /// Rows of another model's width, weights that cannot be read, or a device that fails twice.
    pub async fn embed_tokens(&mut self, hidden: &[f32]) -> Result<Vec<f32>, EncoderError> {
        let width = self.config().vision.tower.width;
        if !hidden.len().is_multiple_of(width) {
            return Err(EncoderError::HiddenSize { expected: width });
        }
        let offsets: Vec<u32> = (0..=(hidden.len() / width) as u32).collect();
        let job = Job { tower: Tower::Head(&self.vision), offsets: &offsets, inputs: &[("hidden", hidden)], outputs: &["embeds"] };
        Ok(self.device.run(&self.checkpoint, &job).await?.pop().unwrap_or_default())
    }

    /// Encodes texts. Each result is independent of the others.
    ///
    /// # Errors
    /// Tokens of another model's tokenizer, weights that cannot be read, or a device that fails twice.
    pub async fn encode_texts(&mut self, tokens: &[Tokens]) -> Result<TextFeatures, EncoderError> {
        let positions = self.config().text.positions;
        if let Some(wrong) = tokens.iter().find(|text| text.ids.len() != positions) {
            return Err(EncoderError::TokenCount { expected: positions, got: wrong.ids.len() });
        }
        let offsets: Vec<u32> = (0..=tokens.len()).map(|i| (i * positions) as u32).collect();
        let stream = self.token_rows(tokens).await?;
        let job = Job { tower: Tower::Text(&self.text), offsets: &offsets, inputs: &[("stream", &stream)], outputs: &["embeds", "pooled"] };
        let mut results = self.device.run(&self.checkpoint, &job).await?.into_iter();
        let mut next = || results.next().unwrap_or_default();
        Ok(TextFeatures { embeds: next(), pooled: next() })
    }

    /// Position rows of every token of a batch, `[tokens, width]`.
    async fn image_position_rows(&mut self, batch: &PatchBatch) -> Result<Vec<f32>, EncoderError> {
        let config = self.checkpoint.config().vision;
        let table = match &mut self.image_positions {
            Some(table) => table,
            empty => {
                let values = self.checkpoint.read("vision_model.embeddings.position_embedding.weight").await?;
                empty.insert(PositionTable::new(values.into_owned(), config.table_side()))
            }
        };
        let mut rows = Vec::with_capacity(batch.tokens() * config.tower.width);
        for &grid in batch.grids() {
            rows.extend_from_slice(&table.rows(grid));
        }
        Ok(rows)
    }

    /// Token rows plus position rows of every text, `[texts · positions, width]`. Only rows in use are read from the token table.
    async fn token_rows(&mut self, tokens: &[Tokens]) -> Result<Vec<f32>, EncoderError> {
        let positions = match &mut self.text_positions {
            Some(positions) => positions,
            empty => empty.insert(self.checkpoint.read("text_model.embeddings.position_embedding.weight").await?.into_owned()),
        };
        let ids: Vec<u32> = tokens.iter().flat_map(|text| text.ids.iter().copied()).collect();
        let mut rows = self.checkpoint.read_rows(TOKEN_TABLE, &ids).await?;
        for text in rows.chunks_exact_mut(positions.len()) {
            text.iter_mut().zip(&*positions).for_each(|(row, position)| *row += position);
        }
        Ok(rows)
    }
}
