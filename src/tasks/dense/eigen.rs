//! A few leading eigenvectors of a symmetric matrix. Linear-algebra crates compute all of them, which for 1,152 channels takes seconds in
//! a browser.

/// Vectors iterated beyond those asked for: the gap behind them decides how fast it converges.
const SPARE: usize = 5;
/// Residual at which an eigenpair counts as found, relative to the largest eigenvalue.
const TOLERANCE: f64 = 1e-10;
/// Enough for gaps of a few percent. Eigenvectors closer than that are not told apart by anyone's data.
const MOST_ROUNDS: usize = 500;

/// The `count` largest eigenvalues of the symmetric positive semi-definite `matrix`, `[size, size]`, in falling order, each with its unit
/// eigenvector. Fewer if the matrix is smaller.
///
/// Orthogonal iteration with a Rayleigh-Ritz step (Golub and Van Loan, "Matrix Computations", section 8.2.4).
pub(super) fn leading(matrix: &[f64], size: usize, count: usize) -> Vec<(f64, Vec<f64>)> {
    let count = count.min(size);
    let mut basis: Vec<Vec<f64>> = (0..(count + SPARE).min(size)).map(|column| start(size, column)).collect();
    orthonormalize(&mut basis);
    let mut found = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let images: Vec<Vec<f64>> = basis.iter().map(|vector| times(matrix, vector)).collect();
        let small: Vec<Vec<f64>> = basis.iter().map(|a| images.iter().map(|b| dot(a, b)).collect()).collect();
        let ritz = jacobi(small);
        let combine = |vectors: &[Vec<f64>], weights: &[f64]| {
            let mut sum = vec![0.0; size];
            for (vector, weight) in vectors.iter().zip(weights) {
                sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
            }
            sum
        };
        let turned: Vec<Vec<f64>> = ritz.iter().map(|(_, weights)| combine(&images, weights)).collect();
        found = ritz.iter().take(count).map(|(value, weights)| (*value, combine(&basis, weights))).collect();
        let scale = found.first().map_or(0.0, |(value, _)| value.abs());
        let residual = |((value, vector), image): (&(f64, Vec<f64>), &Vec<f64>)| {
            vector.iter().zip(image).map(|(v, image)| (image - value * v).powi(2)).sum::<f64>().sqrt()
        };
        if found.iter().zip(&turned).map(residual).all(|residual| residual <= TOLERANCE * scale) {
            break;
        }
        basis = turned;
        orthonormalize(&mut basis);
    }
    found
}

/// Values that are no eigenvector of anything, the same every time.
fn start(size: usize, column: usize) -> Vec<f64> {
    let scatter = |index: usize| {
        let x = ((column * size + index) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ (x >> 29)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (0..size).map(scatter).collect()
}

fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(vector.len()).map(|row| dot(row, vector)).collect()
}

/// Four sums, so that the processor need not wait for each addition.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (quads_a, quads_b) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = quads_a.remainder().iter().zip(quads_b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 4];
    for (a, b) in quads_a.zip(quads_b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + rest
}

/// Gram-Schmidt, twice over each vector: once is not enough when they are nearly parallel. What depends on the others becomes zero.
fn orthonormalize(vectors: &mut [Vec<f64>]) {
    for index in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(index);
        let Some(vector) = rest.first_mut() else { break };
        let before = dot(vector, vector).sqrt();
        for other in done.iter().chain(done.iter()) {
            let share = dot(other, vector);
            vector.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
        }
        let norm = dot(vector, vector).sqrt();
        let factor = if norm > 1e-12 * before { norm.recip() } else { 0.0 };
        vector.iter_mut().for_each(|value| *value *= factor);
    }
}

/// All eigenvalues of a small symmetric matrix, falling, with unit eigenvectors: cyclic Jacobi rotations (Golub and Van Loan, section 8.5).
fn jacobi(mut a: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _sweep in 0..30 {
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                let sine = tangent * cosine;
                let turn = |x: &mut f64, y: &mut f64| (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                for row in &mut a {
                    let (mut x, mut y) = (row[p], row[q]);
                    turn(&mut x, &mut y);
                    (row[p], row[q]) = (x, y);
                }
                for rows in [&mut a, &mut vectors] {
                    let (above, below) = rows.split_at_mut(q);
                    above[p].iter_mut().zip(&mut below[0]).for_each(|(x, y)| turn(x, y));
                }
            }
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> = a.iter().enumerate().map(|(i, row)| row[i]).zip(vectors).collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix with known eigenvalues: V·diag·Vᵀ with an orthonormal V.
    #[test]
    fn leading_pairs_of_a_known_matrix() {
        let size = 40;
        let mut vectors: Vec<Vec<f64>> = (0..size).map(|column| start(size, column + 100)).collect();
        orthonormalize(&mut vectors);
        let value = |i: usize| if i == 0 { 1e6 } else { 100.0 * 0.9f64.powi(i as i32) };
        let mut matrix = vec![0.0; size * size];
        for (i, vector) in vectors.iter().enumerate() {
            for (r, row) in matrix.chunks_exact_mut(size).enumerate() {
                row.iter_mut().zip(vector).for_each(|(entry, v)| *entry += value(i) * vector[r] * v);
            }
        }
        for (i, (found, vector)) in leading(&matrix, size, 3).into_iter().enumerate() {
            assert!((found / value(i) - 1.0).abs() < 1e-8, "{found} is not {}", value(i));
            assert!(dot(&vector, &vectors[i]).abs() > 1.0 - 1e-8, "eigenvector {i}");
        }
    }

    #[test]
    fn matrices_without_rank() {
        assert_eq!(leading(&[0.0; 9], 3, 2).iter().map(|pair| pair.0).collect::<Vec<_>>(), [0.0, 0.0]);
        assert_eq!(leading(&[2.0], 1, 3).len(), 1);
    }
}
