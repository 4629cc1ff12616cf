//! LayerNorm over the last dimension.

use burn::tensor::{Tensor, module};
use polyglance::kernels::{self, Rows};
use polyglance::platform::for_each;

use super::kernel::{Kernel, apply, recorded, restored};
use super::vector::{dispatch, sum};

/// (x − mean) / √(variance + epsilon) · gamma + beta for each row of x `[rows, width]`, with biased variance.
pub(crate) fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<2> {
    match (recorded(&x), recorded(&gamma), recorded(&beta)) {
        (Some(input), Some(gamma), Some(beta)) => restored(apply(LayerNorm { epsilon }, [input, gamma, beta]), &x),
        _ => module::layer_norm(x, gamma, Some(beta), f64::from(epsilon)),
    }
}

#[derive(Clone, Debug)]
struct LayerNorm {
    epsilon: f32,
}

/// Rows whose parameter gradients are summed together. Fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 256;

/// Some rows of a backward pass, and what they add to the gradients of gamma and beta.
struct Task<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    dx: &'a mut [f32],
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
}

impl Kernel<3> for LayerNorm {
    fn forward(&self, [x, gamma, beta]: [&[f32]; 3]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        kernels::LayerNorm { rows: Rows::Tokens, dim: gamma.len(), eps: self.epsilon }.run(x, gamma, beta, &mut y);
        y
    }

    fn backward(&self, [x, gamma, _]: [&[f32]; 3], gradient: &[f32], _wanted: [bool; 3]) -> [Vec<f32>; 3] {
        let (width, block) = (gamma.len(), ROWS * gamma.len());
        let blocks = x.len().div_ceil(block);
        let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![0.0; blocks * width], vec![0.0; blocks * width]);
        let inputs = x.chunks(block).zip(gradient.chunks(block)).zip(dx.chunks_mut(block));
        let sums = dgamma.chunks_exact_mut(width).zip(dbeta.chunks_exact_mut(width));
        let tasks = inputs.zip(sums).map(|(((x, gradient), dx), (dgamma, dbeta))| Task { x, gradient, dx, dgamma, dbeta });
        for_each(tasks.collect(), |scaled: &mut Vec<f32>, task| {
            scaled.resize(width, 0.0);
            dispatch(
                #[inline(always)]
                || task.run(gamma, self.epsilon, scaled),
            );
        });
        [dx, fold(&dgamma, width), fold(&dbeta, width)]
    }
}

fn fold(blocks: &[f32], width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for block in blocks.chunks_exact(width) {
        total.iter_mut().zip(block).for_each(|(total, &value)| *total += value);
    }
    total
}

impl Task<'_> {
    /// With x̂ the normalised row and g the gradient times gamma: dx = (g − mean g − x̂·mean(g·x̂)) / deviation.
    #[inline(always)]
    fn run(self, gamma: &[f32], epsilon: f32, scaled: &mut [f32]) {
        let Self { x, gradient, dx, dgamma, dbeta } = self;
        let width = gamma.len();
        for ((x, gradient), dx) in x.chunks_exact(width).zip(gradient.chunks_exact(width)).zip(dx.chunks_exact_mut(width)) {
            let mean = sum(x, x, |x, _| x) / width as f32;
            let variance = sum(x, x, |x, _| (x - mean) * (x - mean)) / width as f32;
            let scale = (variance + epsilon).sqrt().recip();
            for (normalised, &x) in dx.iter_mut().zip(x) {
                *normalised = (x - mean) * scale;
            }
            for ((scaled, &gradient), &gamma) in scaled.iter_mut().zip(gradient).zip(gamma) {
                *scaled = gradient * gamma;
            }
            let sums = dgamma.iter_mut().zip(dbeta.iter_mut()).zip(gradient).zip(dx.iter());
            for (((dgamma, dbeta), &gradient), &normalised) in sums {
                *dgamma += gradient * normalised;
                *dbeta += gradient;
            }
            let mean_gradient = sum(scaled, scaled, |g, _| g) / width as f32;
            let mean_product = sum(scaled, dx, |g, normalised| g * normalised) / width as f32;
            for (dx, &g) in dx.iter_mut().zip(scaled.iter()) {
                *dx = (g - mean_gradient - *dx * mean_product) * scale;
            }
        }
    }
}
