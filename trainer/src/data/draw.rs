//! Draws from a counter-based stream: weighted choice and permutations.

use crate::random::Stream;

/// An index, with probability in proportion to its weight. `uniform` is on 0 ≤ u < 1; `None` if no weight is positive.
pub(super) fn weighted(weights: impl Iterator<Item = f64> + Clone, uniform: f32) -> Option<usize> {
    let total: f64 = weights.clone().sum();
    let mut left = f64::from(uniform) * total;
    let mut last = None;
    for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        if left < weight {
            return Some(index);
        }
        left -= weight;
        last = Some(index);
    }
    // Rounding may leave a trace beyond the last weight.
    last
}

/// Puts `items` in a random order (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], stream: Stream) {
    for last in (1..items.len()).rev() {
        items.swap(last, stream.below(last as u64, last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6_000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, Stream::new(seed, "test"));
            *counts.entry(items).or_insert(0) += 1;
        }
        // Binomial with n = 6,000 and p = 1/6: mean 1,000, standard deviation 29; five of them leave one false alarm in a million.
        assert!(counts.len() == 6 && counts.values().all(|&count: &i32| (count - 1_000).abs() < 145), "{counts:?}");
    }

    #[test]
    fn weights_divide_the_unit_interval() {
        let pick = |uniform| weighted([1.0, 0.0, 3.0].into_iter(), uniform);
        assert_eq!([0.0, 0.2499, 0.25, 0.9999].map(pick), [Some(0), Some(0), Some(2), Some(2)]);
        assert_eq!(weighted([0.0].into_iter(), 0.5), None);
        assert_eq!(weighted(std::iter::empty(), 0.5), None);
    }
}
