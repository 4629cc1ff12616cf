//! Counter-based randomness: a value depends on (seed, stream, index) and on nothing that happened before, so that any part of a run can
//! be reproduced alone and in parallel.

/// A named sequence of random numbers.
#[derive(Clone, Copy)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: names need to differ, not to be secret.
        let name = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self { key: mix(seed ^ mix(name)) }
    }

    /// 64 random bits.
    pub fn bits(self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Uniform on 0..n, for n > 0.
    pub fn below(self, index: u64, n: u64) -> u64 {
        ((u128::from(self.bits(index)) * u128::from(n)) >> 64) as u64
    }

    /// Uniform on 0 ≤ u < 1, in steps of 2⁻²⁴.
    pub fn uniform(self, index: u64) -> f32 {
        (self.bits(index) >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(self, index: u64) -> f32 {
        let (radius, angle) = (1.0 - self.uniform(2 * index), self.uniform(2 * index + 1));
        (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * angle).cos()
    }
}

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::Stream;

    #[test]
    fn normals_have_mean_0_and_variance_1() {
        let stream = Stream::new(7, "test");
        let values: Vec<f64> = (0..200_000).map(|i| f64::from(stream.normal(i))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
        assert_ne!(stream.uniform(0), Stream::new(7, "other").uniform(0));
    }
}
