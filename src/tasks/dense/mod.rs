//! What the patches of a picture say: maps over its grid, and pictures of such maps.
//!
//! [`PatchFeatures`] encodes an image and makes a [`Map`] of it, one value or a few for every patch; [`Map::paint`] colours it at the size of
//! the picture. The steps stand beside them, for features that come from elsewhere.

mod channels;
mod components;
mod eigen;
mod features;
mod kmeans;
mod pca;
mod render;

pub use channels::{mask_channels, outlier_channels};
pub use components::Components;
pub use features::{Map, PatchFeatures, View};
pub use kmeans::{Clusters, kmeans};
pub use pca::Pca;
pub use render::{Interpolation, Painted, Palette, blend, heat, hue, upsample};

use super::classify::dot;
use super::{Classifier, TaskError};

/// Cosine of every row of `features`, `[tokens, width]`, to `query`, `[width]`. A row of zeros is like nothing: 0.
///
/// # Errors
/// Lengths that do not fit.
pub fn similarity(features: &[f32], query: &[f32]) -> Result<Vec<f32>, TaskError> {
    check_rows(features, query.len())?;
    let norm = |row: &[f32]| dot(row, row).sqrt();
    let query_norm = norm(query);
    let cosine = |row: &[f32]| {
        let norms = norm(row) * query_norm;
        if norms > 0.0 { (dot(row, query) / norms) as f32 } else { 0.0 }
    };
    Ok(features.chunks_exact(query.len()).map(cosine).collect())
}

/// Logits `[tokens, labels]` of every token, embedded alone, against every label: a heat map for each label, and for several labels a
/// segmentation by the largest.
///
/// # Errors
/// As [`Classifier::scores`].
pub fn token_logits(classifier: &Classifier, token_embeds: &[f32], dim: usize) -> Result<Vec<f32>, TaskError> {
    check_rows(token_embeds, dim)?;
    let mut logits = Vec::new();
    for token in token_embeds.chunks_exact(dim) {
        logits.extend(classifier.scores(token)?.iter().map(|score| score.logit));
    }
    Ok(logits)
}

/// The channel with the largest value of every row of `map`, `[rows, channels]`; the first of equals. No channels, no rows.
pub fn largest_channel(map: &[f32], channels: usize) -> Vec<usize> {
    let largest = |row: &[f32]| row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best });
    if channels == 0 { Vec::new() } else { map.chunks_exact(channels).map(largest).collect() }
}

/// An error unless `features` is one or more rows of `width` values.
fn check_rows(features: &[f32], width: usize) -> Result<(), TaskError> {
    super::classify::check_rows("patch features", features, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_a_cosine() {
        let features = [3.0, 4.0, 0.0, 0.0, -6.0, -8.0, 4.0, -3.0];
        assert_eq!(similarity(&features, &[6.0, 8.0]).unwrap(), [1.0, 0.0, -1.0, 0.0]);
        assert!(similarity(&features, &[1.0, 2.0, 3.0]).is_err());
    }

    #[test]
    fn the_first_of_equal_channels_wins() {
        assert_eq!(largest_channel(&[0.0, 0.0, -1.0, 2.0, 5.0, 5.0], 2), [0, 1, 0]);
        assert!(largest_channel(&[], 0).is_empty());
    }
}
