//! Arithmetic on slices that the compiler turns into the vector instructions of this machine, once it is called through [`dispatch`].

/// Runs `op` compiled for the best instruction set of this machine.
pub(super) fn dispatch<R>(op: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(op)
}

/// eˣ, relative error below 3e-7; 0 below −87.3 and finite up to 88.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2; eʳ by a polynomial; 2ⁿ through the exponent bits. Adding 1.5·2²³ rounds to an integer.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts; the first has so few bits that n times it is exact.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0] {
        p = p * r + coefficient;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

/// Independent sums that one vector register holds.
const LANES: usize = 16;

/// Σ f(aᵢ, bᵢ).
#[inline(always)]
pub(super) fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    lanes.iter().sum::<f32>() + a_tail.iter().zip(b_tail).map(|(&a, &b)| f(a, b)).sum::<f32>()
}

/// The largest value.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    let (body, tail) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for values in body {
        for (lane, &value) in lanes.iter_mut().zip(values) {
            *lane = lane.max(value);
        }
    }
    lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |most, &value| most.max(value))
}

#[cfg(test)]
mod tests {
    use super::{exp, max, sum};

    #[test]
    fn exp_is_accurate_over_its_range() {
        for x in (-87_000..=87_900).map(|i| i as f32 * 1e-3) {
            let error = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error:.1e}");
        }
        assert!(exp(-1e30) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_cover_the_tail() {
        let values: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!((sum(&values, &values, |a, _| a), max(&values)), (666.0, 36.0));
        assert_eq!(max(&values[..3]), 2.0);
    }
}
