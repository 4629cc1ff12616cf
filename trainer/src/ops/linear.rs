//! Linear layers. On flex they run on the product of the library's CPU backend, whose tiles beat flex's at a small model's widths.

use burn::tensor::{Tensor, module};
use polyglance::kernels::product::{Operand, product};
use polyglance::platform::for_each_chunk;

use super::autocast::Products;
use super::kernel::{Kernel, apply, recorded, restored};
use super::vector::dispatch;

/// x `[rows, inputs]` · weightᵀ + bias, with weight `[outputs, inputs]` as PyTorch has it, to `[rows, outputs]`.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let products = Products::in_use();
    if products != Products::F32 {
        return products.matmul(x, weight.transpose()) + bias.unsqueeze::<2>();
    }
    match (recorded(&x), recorded(&weight), recorded(&bias)) {
        (Some(input), Some(weight), Some(bias)) => restored(apply(Linear, [input, weight, bias]), &x),
        _ => module::linear(x, weight.transpose(), Some(bias)),
    }
}

#[derive(Clone, Debug)]
struct Linear;

impl Kernel<3> for Linear {
    fn forward(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        let rows = x.len() / inputs;
        let mut y = vec![0.0; rows * outputs];
        product(Operand::rows(x, inputs), Operand::rows(weight, inputs), Some(bias), [rows, outputs, inputs], &mut y);
        y
    }

    /// dx = dy·W, dW = dyᵀ·x, db = the sum of dy's rows. Patches are no parameters, so that nobody wants their dx.
    fn backward(&self, [x, weight, bias]: [&[f32]; 3], gradient: &[f32], [wants_x, ..]: [bool; 3]) -> [Vec<f32>; 3] {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        let rows = gradient.len() / outputs;
        let filled = |a, b, sizes: [usize; 3]| {
            let mut y = vec![0.0; sizes[0] * sizes[1]];
            product(a, b, None, sizes, &mut y);
            y
        };
        [
            if wants_x {
                filled(Operand::rows(gradient, outputs), Operand::columns(weight, inputs), [rows, inputs, outputs])
            } else {
                Vec::new()
            },
            filled(Operand::columns(gradient, outputs), Operand::columns(x, inputs), [outputs, inputs, rows]),
            column_sums(gradient, outputs),
        ]
    }
}

/// Sums each column of `[rows, width]`. Blocks of fixed size keep the result independent of the number of threads.
fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    const ROWS: usize = 128;
    let add = |values: &[f32], sums: &mut [f32]| {
        dispatch(
            #[inline(always)]
            || {
                for row in values.chunks_exact(width) {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            },
        );
    };
    let mut partial = vec![0.0; values.len().div_ceil(ROWS * width) * width];
    for_each_chunk(&mut partial, width, |block, sums| {
        let end = ((block + 1) * ROWS * width).min(values.len());
        add(&values[block * ROWS * width..end], sums);
    });
    let mut sums = vec![0.0; width];
    add(&partial, &mut sums);
    sums
}
