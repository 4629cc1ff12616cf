//! The weights: a quadratic programme, solved through its dual, which has a price for each moment.

use rayon::prelude::*;

use super::Labels;

/// What the weights may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How far a moment may be from 0, as a share of the mean weight.
    pub tolerance: f64,
    /// The largest weight; 1 for weights that are probabilities to keep an example.
    pub most: f64,
    /// What it costs to be a unit beyond the tolerance, where half the mean squared change of the weights is what it costs to change them.
    pub price: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { tolerance: 0.01, most: 1.0, price: 100.0 }
    }
}

/// Weights, and how good they are.
#[derive(Clone, Debug)]
pub struct Balance {
    /// Of each example, 0 to `most`.
    pub weights: Vec<f32>,
    /// Half the mean squared distance of the weights from 1, and the price of what is beyond the tolerance.
    pub objective: f64,
    /// By how much no weights can be better.
    pub gap: f64,
    /// Passes over the examples.
    pub passes: usize,
}

/// Share of the objective below which a gap does not matter.
const ENOUGH: f64 = 1e-5;
const MOST_PASSES: usize = 20_000;
/// Passes that find the largest curvature of the dual, and what is added for what they miss.
const POWER_PASSES: usize = 50;
const POWER_MARGIN: f64 = 1.1;
/// Examples of a task.
const CHUNK: usize = 16_384;

/// Finds the weights. `say` hears of the objective and the gap after some passes.
///
/// With `b` the deviation of each attribute from its target, alone and times each concept, these minimise `½ mean (w − 1)²` such that `|mean w b|` is at
/// most the tolerance times `mean w`, or pay for it. The dual is concave, its gradient is what is beyond the tolerance, and its prices lie between 0 and
/// [`Bounds::price`]: Nesterov's accelerated ascent with O'Donoghue and Candès' restarts (2015).
pub fn solve(labels: &Labels, bounds: &Bounds, say: &mut dyn FnMut(f64, f64)) -> Balance {
    let moments = Moments::new(labels);
    let step = 1.0 / (POWER_MARGIN * moments.curvature(bounds.tolerance)).max(f64::MIN_POSITIVE);
    let count = 2 * moments.count();
    let (mut prices, mut ahead, mut momentum) = (vec![0.0; count], vec![0.0; count], 1.0_f64);
    let mut passes = POWER_PASSES;
    loop {
        let seen = moments.look(&ahead, bounds);
        passes += 1;
        let gap = seen.primal - seen.dual;
        if gap <= ENOUGH * seen.primal.max(1e-6) || passes >= MOST_PASSES {
            let weights = moments.weights(&ahead, bounds);
            return Balance { weights, objective: seen.primal, gap, passes };
        }
        if passes.is_multiple_of(100) {
            say(seen.primal, gap);
        }
        let stepped = ahead.iter().zip(&seen.gradient).map(|(price, gradient)| (price + step * gradient).clamp(0.0, bounds.price));
        let next: Vec<f64> = stepped.collect();
        let uphill: f64 =
            seen.gradient.iter().zip(next.iter().zip(&prices)).map(|(gradient, (next, price))| gradient * (next - price)).sum();
        let faster = if uphill < 0.0 { 1.0 } else { 0.5 + (0.25 + momentum * momentum).sqrt() };
        let share = if uphill < 0.0 { 0.0 } else { (momentum - 1.0) / faster };
        // Within bounds, where the dual is a bound on what weights can reach.
        ahead = next.iter().zip(&prices).map(|(next, price)| (next + share * (next - price)).clamp(0.0, bounds.price)).collect();
        (prices, momentum) = (next, faster);
    }
}

/// The moments of examples.
struct Moments<'a> {
    /// `[examples, attributes]`.
    deviations: Vec<f32>,
    attributes: usize,
    concepts: &'a [f32],
    concepts_each: usize,
}

/// Sums over examples.
#[derive(Clone)]
struct Sums {
    /// Of weights, of their half squared distances from 1, and of weights times costs.
    weight: f64,
    change: f64,
    cost: f64,
    /// Of weights times moments.
    moments: Vec<f64>,
}

/// The dual at some prices.
struct Seen {
    dual: f64,
    primal: f64,
    gradient: Vec<f64>,
}

impl<'a> Moments<'a> {
    fn new(labels: &'a Labels) -> Self {
        let attributes = labels.targets.len();
        let concepts_each = labels.concepts.len() / labels.keys.len().max(1);
        Self { deviations: labels.deviations(), attributes, concepts: &labels.concepts, concepts_each }
    }

    /// Moments: each attribute alone, then with each concept.
    fn count(&self) -> usize {
        self.attributes * (1 + self.concepts_each)
    }

    fn examples(&self) -> usize {
        self.deviations.len() / self.attributes.max(1)
    }

    fn row(&self, index: usize) -> (&[f32], &[f32]) {
        (&self.deviations[index * self.attributes..][..self.attributes], &self.concepts[index * self.concepts_each..][..self.concepts_each])
    }

    /// The sum of an example's moments, each times its factor.
    fn combine(&self, index: usize, factors: &[f64]) -> f64 {
        let (deviations, concepts) = self.row(index);
        let each = factors.chunks_exact(1 + self.concepts_each);
        let combined = deviations.iter().zip(each).map(|(deviation, factors)| {
            let with: f64 = factors[1..].iter().zip(concepts).map(|(factor, concept)| factor * f64::from(*concept)).sum();
            f64::from(*deviation) * (factors[0] + with)
        });
        combined.sum()
    }

    /// Adds an example's moments, each times `weight`.
    fn add(&self, index: usize, weight: f64, sums: &mut [f64]) {
        let (deviations, concepts) = self.row(index);
        for (deviation, sums) in deviations.iter().zip(sums.chunks_exact_mut(1 + self.concepts_each)) {
            let own = weight * f64::from(*deviation);
            sums[0] += own;
            sums[1..].iter_mut().zip(concepts).for_each(|(sum, concept)| *sum += own * f64::from(*concept));
        }
    }

    /// Sums over all examples, of which `weigh` gives weight and cost from the sum of moments times factors.
    fn sum(&self, factors: &[f64], weigh: impl Fn(f64) -> (f64, f64) + Sync) -> Sums {
        let none = || Sums { weight: 0.0, change: 0.0, cost: 0.0, moments: vec![0.0; self.count()] };
        let starts: Vec<usize> = (0..self.examples()).step_by(CHUNK).collect();
        let chunk = |start: usize| {
            let mut sums = none();
            for index in start..self.examples().min(start + CHUNK) {
                let (weight, cost) = weigh(self.combine(index, factors));
                sums.weight += weight;
                sums.change += 0.5 * (weight - 1.0) * (weight - 1.0);
                sums.cost += weight * cost;
                self.add(index, weight, &mut sums.moments);
            }
            sums
        };
        // Added in order, so that the same data always give the same weights.
        let chunks: Vec<Sums> = starts.into_par_iter().map(chunk).collect();
        chunks.into_iter().fold(none(), |mut all, own| {
            all.moments.iter_mut().zip(&own.moments).for_each(|(all, own)| *all += own);
            Sums { weight: all.weight + own.weight, change: all.change + own.change, cost: all.cost + own.cost, moments: all.moments }
        })
    }

    /// Factors of the moments in an example's cost, and what is in it of every example. Prices are those of too much, then those of too little.
    fn costs(&self, prices: &[f64], tolerance: f64) -> (Vec<f64>, f64) {
        let (above, below) = prices.split_at(self.count());
        (above.iter().zip(below).map(|(above, below)| above - below).collect(), -tolerance * prices.iter().sum::<f64>())
    }

    fn look(&self, prices: &[f64], bounds: &Bounds) -> Seen {
        let (factors, common) = self.costs(prices, bounds.tolerance);
        let sums = self.sum(&factors, |cost| ((1.0 - cost - common).clamp(0.0, bounds.most), cost + common));
        let scale = 1.0 / self.examples() as f64;
        let allowed = bounds.tolerance * sums.weight * scale;
        let moments = || sums.moments.iter().map(|sum| sum * scale);
        let gradient: Vec<f64> = moments().map(|moment| moment - allowed).chain(moments().map(|moment| -moment - allowed)).collect();
        let beyond: f64 = gradient.iter().map(|beyond| beyond.max(0.0)).sum();
        Seen { dual: scale * (sums.change + sums.cost), primal: scale * sums.change + bounds.price * beyond, gradient }
    }

    fn weights(&self, prices: &[f64], bounds: &Bounds) -> Vec<f32> {
        let (factors, common) = self.costs(prices, bounds.tolerance);
        let weight = |index| (1.0 - self.combine(index, &factors) - common).clamp(0.0, bounds.most) as f32;
        (0..self.examples()).into_par_iter().map(weight).collect()
    }

    /// The largest eigenvalue of the mean outer product of what each price multiplies, by power iteration.
    fn curvature(&self, tolerance: f64) -> f64 {
        let mut direction: Vec<f64> = (0..2 * self.count()).map(|index| 1.0 + (index as f64 * 0.7).sin()).collect();
        let mut value = 0.0;
        for _ in 0..POWER_PASSES {
            let norm = direction.iter().map(|own| own * own).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            direction.iter_mut().for_each(|own| *own /= norm);
            let (factors, common) = self.costs(&direction, tolerance);
            let sums = self.sum(&factors, |cost| (cost + common, 0.0));
            let scale = 1.0 / self.examples() as f64;
            let shared = tolerance * sums.weight;
            let above = sums.moments.iter().map(|sum| scale * (sum - shared));
            let below = sums.moments.iter().map(|sum| scale * (-sum - shared));
            let next: Vec<f64> = above.chain(below).collect();
            value = next.iter().map(|own| own * own).sum::<f64>().sqrt();
            direction = next;
        }
        value
    }
}
