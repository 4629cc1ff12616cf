//! Vector arithmetic that the CPU twins share, generic over the instruction set and dispatched when the program runs.

use pulp::{Simd, WithSimd};

/// Runs `op` with the best instruction set of this machine.
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}

/// Name of the instruction set that [`dispatch`] picks, for `doctor` and benchmarks.
pub(crate) fn instruction_set() -> String {
    let name: String = format!("{:?}", pulp::Arch::new()).chars().take_while(|c| c.is_alphanumeric()).collect();
    // pulp names x86's by their micro-architecture level.
    match name.as_str() {
        "V3" => "AVX2".to_owned(),
        "V4" => "AVX-512".to_owned(),
        _ => name,
    }
}

/// eˣ, relative error below 2e-7; 0 below −87.3 and finite up to 88.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2; eʳ by a polynomial; 2ⁿ through the exponent bits. Adding 1.5·2²³ rounds to an integer.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const ROUND: f32 = 12_582_912.0;
    let splat = |v| simd.splat_f32s(v);
    let x = simd.min_f32s(simd.max_f32s(x, splat(-87.3)), splat(88.0));
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(shifted, splat(ROUND));
    // ln 2 in two parts, so that n·ln 2 is exact to well beyond f32.
    let r = simd.mul_add_e_f32s(n, splat(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, splat(2.121_944_4e-4), r);
    let mut p = splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0] {
        p = simd.mul_add_e_f32s(p, r, splat(coefficient));
    }
    let bits = simd.sub_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(ROUND.to_bits()));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.add_u32s(bits, simd.splat_u32s(127)), simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(exponent))
}

/// The tanh approximation of GELU, x·σ(2u) with u = √(2/π)·(x + 0.044715·x³): `gelu_pytorch_tanh`, flax's default.
#[inline(always)]
pub fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const SCALE: f32 = -2.0 * 0.797_884_6;
    let square = simd.mul_f32s(x, x);
    let inner = simd.mul_add_e_f32s(square, simd.splat_f32s(SCALE * 0.044_715), simd.splat_f32s(SCALE));
    let denominator = simd.add_f32s(simd.splat_f32s(1.0), exp(simd, simd.mul_f32s(x, inner)));
    simd.div_f32s(x, denominator)
}

/// One row of [`LayerNorm`](super::LayerNorm).
pub(crate) fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
    dispatch(LayerNormRow { x, gamma, beta, eps, y });
}

struct LayerNormRow<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
}

impl WithSimd for LayerNormRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, gamma, beta, eps, y } = self;
        let (x_body, x_tail) = S::as_simd_f32s(x);
        let dim = x.len() as f32;
        let sum = x_body.iter().fold(simd.splat_f32s(0.0), |sum, &v| simd.add_f32s(sum, v));
        let mean = (simd.reduce_sum_f32s(sum) + x_tail.iter().sum::<f32>()) / dim;
        let means = simd.splat_f32s(mean);
        let square = x_body.iter().fold(simd.splat_f32s(0.0), |sum, &v| {
            let centred = simd.sub_f32s(v, means);
            simd.mul_add_e_f32s(centred, centred, sum)
        });
        let tail_square: f32 = x_tail.iter().map(|&v| (v - mean) * (v - mean)).sum();
        let scale = ((simd.reduce_sum_f32s(square) + tail_square) / dim + eps).sqrt().recip();
        let scales = simd.splat_f32s(scale);
        let (gamma_body, gamma_tail) = S::as_simd_f32s(gamma);
        let (beta_body, beta_tail) = S::as_simd_f32s(beta);
        let (y_body, y_tail) = S::as_mut_simd_f32s(y);
        for (((y, &x), &gamma), &beta) in y_body.iter_mut().zip(x_body).zip(gamma_body).zip(beta_body) {
            *y = simd.mul_add_e_f32s(simd.mul_f32s(simd.sub_f32s(x, means), scales), gamma, beta);
        }
        for (((y, &x), &gamma), &beta) in y_tail.iter_mut().zip(x_tail).zip(gamma_tail).zip(beta_tail) {
            *y = (x - mean) * scale * gamma + beta;
        }
    }
}
