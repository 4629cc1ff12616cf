//! GELU in its tanh approximation. ½(1 + tanh u) is σ(2u), so that it is x·σ(2u) with u = √(2/π)·(x + 0.044715·x³).

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use polyglance::platform::for_each_chunk;

use super::kernel::{Kernel, apply, recorded, restored};
use super::vector::{dispatch, exp};

/// Factor of x in 2u.
const LINEAR: f32 = 2.0 * 0.797_884_6;
/// Factor of x³ in 2u.
const CUBIC: f32 = LINEAR * 0.044_715;
/// Values that a thread takes at a time.
const CHUNK: usize = 1 << 14;

/// GELU of every element.
pub(crate) fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    match recorded(&x) {
        Some(input) => restored(apply(Gelu, [input]), &x),
        None => {
            let slope = x.clone() * x.clone() * CUBIC + LINEAR;
            x.clone() * sigmoid(x * slope)
        }
    }
}

#[derive(Clone, Debug)]
struct Gelu;

impl Kernel<1> for Gelu {
    fn forward(&self, [x]: [&[f32]; 1]) -> Vec<f32> {
        map(x, x, |x, _| x * gate(x))
    }

    /// d(x·s) = s + x·s·(1 − s)·d(2u) with s = σ(2u).
    fn backward(&self, [x]: [&[f32]; 1], gradient: &[f32], _wanted: [bool; 1]) -> [Vec<f32>; 1] {
        let slope = |x: f32| {
            let gate = gate(x);
            gate + x * gate * (1.0 - gate) * (LINEAR + 3.0 * CUBIC * x * x)
        };
        [map(x, gradient, |x, gradient| gradient * slope(x))]
    }
}

/// σ(2u).
#[inline(always)]
fn gate(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x * (LINEAR + CUBIC * x * x)))
}

fn map(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync + Send + Copy) -> Vec<f32> {
    let mut y = vec![0.0; a.len()];
    for_each_chunk(&mut y, CHUNK, |chunk, y| {
        let (a, b) = (&a[chunk * CHUNK..][..y.len()], &b[chunk * CHUNK..][..y.len()]);
        dispatch(
            #[inline(always)]
            || y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)),
        );
    });
    y
}
