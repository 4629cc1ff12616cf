//! One image's patches after the vision tower, and the maps that can be made of them.

use super::{Pca, check_rows, dot, kmeans, mask_channels, outlier_channels};
use crate::encoder::{Encoder, EncoderError, HiddenLayer, ImageOutputs};
use crate::image::{Grid, PatchBatch, Patches};
use crate::tasks::{Classifier, TaskError};

/// Factor between a channel and most others from which on it hides them.
const OUTLIER: f64 = 10.0;

/// The features of one image's patches.
#[derive(Clone, Debug)]
pub struct PatchFeatures {
    grid: Grid,
    layer: HiddenLayer,
    /// `[patches, width]`.
    hidden: Vec<f32>,
    /// `[patches, heads]`.
    attention: Vec<f32>,
    /// `[patches, D]`, once they were asked for.
    embeds: Option<Vec<f32>>,
}

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// The features as they are.
    Features,
    /// Coordinates along this many principal components.
    Components(usize),
    /// Cosine to the patch with this number.
    Similar(usize),
    /// Logit of each of these labels; [`PatchFeatures::embed`] comes first.
    Phrases(&'a Classifier),
    /// At most this many groups of patches that point the same way.
    Groups(usize),
    /// Weights of the MAP head, by head.
    Attention,
}

/// A few values for every patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Size of the image in patches.
    pub grid: Grid,
    /// Values of one patch.
    pub channels: usize,
    /// `[rows, cols, channels]`.
    pub values: Vec<f32>,
}

impl PatchFeatures {
    /// Encodes an image.
    ///
    /// # Errors
    /// As [`Encoder::encode_images`].
    pub async fn encode(encoder: &mut Encoder, image: Patches, layer: HiddenLayer) -> Result<Self, EncoderError> {
        let grid = image.grid;
        let want = ImageOutputs { hidden: Some(layer), attention: true };
        let features = encoder.encode_images(&PatchBatch::pack(&[image]), want).await?;
        let (hidden, attention) = (features.hidden.unwrap_or_default(), features.attention.unwrap_or_default());
        Ok(Self { grid, layer, hidden, attention, embeds: None })
    }

    /// Embeds every patch alone, so that it can be compared with texts. The second time costs nothing.
    ///
    /// # Errors
    /// As [`Encoder::embed_tokens`]. Also features of a layer that the MAP head never sees.
    pub async fn embed(&mut self, encoder: &mut Encoder) -> Result<(), EncoderError> {
        if let HiddenLayer::Block(block) = self.layer {
            return Err(EncoderError::NotPooled { block });
        }
        if self.embeds.is_none() {
            self.embeds = Some(encoder.embed_tokens(&self.hidden).await?);
        }
        Ok(())
    }

    /// Size of the image in patches.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Channels that are more than ten times as large as most, in every patch alike; the largest first.
    ///
    /// # Errors
    /// An image without patches.
    pub fn outliers(&self) -> Result<Vec<usize>, TaskError> {
        outlier_channels(&self.hidden, self.width(), OUTLIER)
    }

    /// Sets channels to zero, in all views but those of phrases and attention.
    pub fn mask(&mut self, channels: &[usize]) {
        let width = self.width();
        mask_channels(&mut self.hidden, width, channels);
    }

    /// Makes a map.
    ///
    /// # Errors
    /// A patch that does not exist, or labels of another model.
    pub fn map(&self, view: View<'_>) -> Result<Map, TaskError> {
        let width = self.width();
        let (channels, values) = match view {
            View::Features => (width, self.hidden.clone()),
            View::Components(count) => (count, Pca::fit(&self.hidden, width, count)?.project(&self.hidden)?),
            View::Similar(patch) => {
                let query = self.hidden.chunks_exact(width.max(1)).nth(patch);
                let query = query.ok_or(TaskError::NoSuchPatch { patch, patches: self.grid.patches() })?;
                (1, super::similarity(&self.hidden, query)?)
            }
            View::Phrases(classifier) => {
                let embeds = self.embeds.as_deref().unwrap_or_default();
                let logits = super::token_logits(classifier, embeds, embeds.len() / self.grid.patches().max(1))?;
                (logits.len() / self.grid.patches().max(1), logits)
            }
            View::Groups(count) => {
                let groups = kmeans(&unit_rows(&self.hidden, width)?, width, count)?;
                (1, groups.of_row.iter().map(|&group| group as f32).collect())
            }
            View::Attention => (self.attention.len() / self.grid.patches().max(1), self.attention.clone()),
        };
        Ok(Map { grid: self.grid, channels, values })
    }

    fn width(&self) -> usize {
        self.hidden.len() / self.grid.patches().max(1)
    }
}

/// How long a feature is says little about what it shows.
fn unit_rows(features: &[f32], width: usize) -> Result<Vec<f32>, TaskError> {
    check_rows(features, width)?;
    let mut unit = features.to_vec();
    for row in unit.chunks_exact_mut(width) {
        let norm = dot(row, row).sqrt().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
    Ok(unit)
}
