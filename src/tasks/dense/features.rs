//! One image's patches after the vision tower, and the maps that can be made of them.

use super::{Components, check_rows, dot, kmeans, mask_channels, outlier_channels};
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
    /// Coordinates along principal components that were fitted to this image or to others.
    Components(&'a Components),
    /// Cosine to a patch's features, of this image ([`PatchFeatures::patch_at`]) or of another.
    Similar(&'a [f32]),
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
    /// `[rows, cols, channels]`. NaN where a patch has no value.
    pub values: Vec<f32>,
    /// From where to where the colours of each channel go; empty if as far as its values do.
    pub ranges: Vec<[f32; 2]>,
}

impl PatchFeatures {
    /// Features that are known.
    #[cfg(test)]
    pub(super) fn new(grid: Grid, hidden: Vec<f32>) -> Self {
        Self { grid, layer: HiddenLayer::Last, hidden, attention: Vec::new(), embeds: None }
    }

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

    /// The features of the patch at a place, given as shares of the image's width and height.
    ///
    /// # Errors
    /// A place outside the image.
    pub fn patch_at(&self, [x, y]: [f64; 2]) -> Result<&[f32], TaskError> {
        let [row, col] = self.grid.cell_at([x, y]).ok_or(TaskError::Outside { x, y })?;
        let width = self.width();
        Ok(&self.hidden[(row * self.grid.cols + col) * width..][..width])
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
    /// Components, features or labels of another model.
    pub fn map(&self, view: View<'_>) -> Result<Map, TaskError> {
        let width = self.width();
        let (channels, values) = match view {
            View::Features => (width, self.hidden.clone()),
            View::Components(components) => return components.map(self),
            View::Similar(query) => (1, super::similarity(&self.hidden, query)?),
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
        Ok(Map { grid: self.grid, channels, values, ranges: Vec::new() })
    }

    /// `[patches, width]`.
    pub(super) fn hidden(&self) -> &[f32] {
        &self.hidden
    }

    pub(super) fn width(&self) -> usize {
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
