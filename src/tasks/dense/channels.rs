//! Channels of a transformer that carry no picture.
//!
//! A few channels of the residual stream are hundreds of times as large as the others, in every patch alike (Sun et al. 2024, "Massive
//! Activations in Large Language Models", arXiv 2402.17762, section 4 for vision transformers). They drown distances and directions.

use super::check_rows;
use crate::tasks::TaskError;

/// Channels whose root mean square is more than `factor` times the median channel's, the largest first.
///
/// # Errors
/// No rows, or a width of zero.
pub fn outlier_channels(features: &[f32], width: usize, factor: f64) -> Result<Vec<usize>, TaskError> {
    check_rows(features, width)?;
    let mut squares = vec![0.0; width];
    for row in features.chunks_exact(width) {
        squares.iter_mut().zip(row).for_each(|(square, &value)| *square += f64::from(value).powi(2));
    }
    let mut sorted = squares.clone();
    sorted.sort_by(f64::total_cmp);
    let limit = sorted[width / 2] * factor.powi(2);
    let mut outliers: Vec<usize> = (0..width).filter(|&channel| squares[channel] > limit).collect();
    outliers.sort_by(|&a, &b| squares[b].total_cmp(&squares[a]));
    Ok(outliers)
}

/// Sets `channels` to zero in every row.
pub fn mask_channels(features: &mut [f32], width: usize, channels: &[usize]) {
    for row in features.chunks_exact_mut(width.max(1)) {
        for &channel in channels {
            if let Some(value) = row.get_mut(channel) {
                *value = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_found_and_masked() {
        let mut features = [1.0, 300.0, -1.0, 2.0, -40.0, 1.0, -310.0, 1.0, 1.0, -39.0];
        assert_eq!(outlier_channels(&features, 5, 10.0).unwrap(), [1, 4]);
        assert!(outlier_channels(&features, 5, 1e3).unwrap().is_empty());
        mask_channels(&mut features, 5, &[1, 4, 9]);
        assert_eq!(features, [1.0, 0.0, -1.0, 2.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    }
}
