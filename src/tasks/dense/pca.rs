//! Principal components: the directions in which patches differ most.

use super::{check_rows, eigen};
use crate::platform::for_each_chunk;
use crate::tasks::TaskError;

/// Directions fitted on the patches of one picture or of several, so that one colour means the same in all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Vec<f64>,
    /// Unit vectors; of zeros where the data have no further direction.
    components: Vec<Vec<f64>>,
    variances: Vec<f64>,
}

impl Pca {
    /// Fits `count` components to `features`, `[tokens, width]`. Signs are fixed as scikit-learn fixes them: the entry of largest size is
    /// positive.
    ///
    /// # Errors
    /// No rows, or a width of zero.
    pub fn fit(features: &[f32], width: usize, count: usize) -> Result<Self, TaskError> {
        check_rows(features, width)?;
        let tokens = features.len() / width;
        let mut mean = vec![0.0; width];
        for row in features.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / tokens as f64);
        }
        let centred: Vec<f64> =
            features.chunks_exact(width).flat_map(|row| row.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean)).collect();
        // Both products of the matrix with its transpose have the same eigenvalues: the smaller one is cheaper.
        let by_token = tokens <= width;
        let (rows, size) = if by_token { (centred.clone(), tokens) } else { (transposed(&centred, width), width) };
        let pairs = eigen::leading(&gram(&rows, rows.len() / size), size, count);
        // An eigenvector over tokens is turned into one over channels by Xᵀu / √λ.
        let direction = |(value, vector): &(f64, Vec<f64>)| {
            if by_token { combined(&centred, width, vector, value.max(0.0).sqrt()) } else { vector.clone() }
        };
        let mut components: Vec<Vec<f64>> = pairs.iter().map(|pair| with_fixed_sign(direction(pair))).collect();
        components.resize(count, vec![0.0; width]);
        let mut variances: Vec<f64> = pairs.iter().map(|(value, _)| value.max(0.0) / tokens.saturating_sub(1).max(1) as f64).collect();
        variances.resize(count, 0.0);
        Ok(Self { mean, components, variances })
    }

    /// Variance along each component, falling.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// Coordinates `[tokens, components]` of `features`, `[tokens, width]`.
    ///
    /// # Errors
    /// Features of another width.
    pub fn project(&self, features: &[f32]) -> Result<Vec<f32>, TaskError> {
        check_rows(features, self.mean.len())?;
        let coordinate = |row: &[f32], component: &[f64]| {
            row.iter().zip(&self.mean).zip(component).map(|((&x, mean), c)| (f64::from(x) - mean) * c).sum::<f64>() as f32
        };
        let rows = features.chunks_exact(self.mean.len());
        Ok(rows.flat_map(|row| self.components.iter().map(move |component| coordinate(row, component))).collect())
    }
}

/// All inner products of rows of `length` values.
fn gram(rows: &[f64], length: usize) -> Vec<f64> {
    let count = rows.len() / length;
    let mut products = vec![0.0; count * count];
    for_each_chunk(&mut products, count, |index, products| {
        let own = &rows[index * length..][..length];
        products.iter_mut().zip(rows.chunks_exact(length)).for_each(|(product, other)| *product = eigen::dot(own, other));
    });
    products
}

fn transposed(values: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|column| values[column..].iter().step_by(width).copied()).collect()
}

/// Σ weight · row / norm; zeros if there is nothing to divide by.
fn combined(rows: &[f64], width: usize, weights: &[f64], norm: f64) -> Vec<f64> {
    let mut sum = vec![0.0; width];
    for (row, weight) in rows.chunks_exact(width).zip(weights) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
    }
    let factor = if norm > 0.0 { norm.recip() } else { 0.0 };
    sum.iter_mut().for_each(|value| *value *= factor);
    sum
}

fn with_fixed_sign(mut vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().fold(0.0f64, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
    if largest < 0.0 {
        vector.iter_mut().for_each(|value| *value = -*value);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_have_one_component() {
        let features: Vec<f32> = (0..5).flat_map(|i| [10.0 + 3.0 * i as f32, 20.0 - 4.0 * i as f32]).collect();
        for width_first in [false, true] {
            // Three more channels of zeros put the other product to work.
            let (features, width) = if width_first {
                (features.chunks_exact(2).flat_map(|row| [row[0], row[1], 0.0, 0.0, 0.0, 0.0]).collect::<Vec<_>>(), 6)
            } else {
                (features.clone(), 2)
            };
            let pca = Pca::fit(&features, width, 3).unwrap();
            // Steps of length 5 along (−3, 4) / 5, whose larger entry is positive.
            let first: Vec<f32> = pca.project(&features).unwrap().chunks_exact(3).map(|row| row[0]).collect();
            assert!(first.iter().zip([10.0, 5.0, 0.0, -5.0, -10.0]).all(|(got, want)| (got - want).abs() < 1e-4), "{first:?}");
            assert!((pca.variances()[0] - 62.5).abs() < 1e-6 && pca.variances()[1] < 1e-6);
        }
    }

    #[test]
    fn one_patch_has_no_directions() {
        let pca = Pca::fit(&[1.0, 2.0, 3.0], 3, 3).unwrap();
        assert_eq!(pca.project(&[4.0, 5.0, 6.0]).unwrap(), [0.0; 3]);
    }
}
