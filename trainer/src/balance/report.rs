//! [`Report`]: how balanced a data set is, before and after.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Balance, Labels};

/// Before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Examples.
    pub examples: usize,
    /// The mean weight: the share of the data that is kept, if weights are probabilities.
    pub mean_weight: f64,
    /// Examples of equal weight that would be as sure a sample (Kish, 1965).
    pub effective: f64,
    /// How frequent each attribute is.
    pub shares: Vec<Share>,
    /// How each attribute goes together with each concept.
    pub associations: Vec<Association>,
    /// By how much no weights can be better, as a share of the objective.
    pub gap: f64,
}

/// How frequent an attribute is, among examples of which it is known.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Its name.
    pub attribute: String,
    /// As it should be.
    pub target: f64,
    /// As it is, and as it is by weight.
    pub share: [f64; 2],
}

/// How frequent an attribute is where there is a concept, among examples of which it is known.
#[derive(Clone, Debug, Serialize)]
pub struct Association {
    /// Name of the attribute.
    pub attribute: String,
    /// Name of the concept.
    pub concept: String,
    /// As it is, and as it is by weight.
    pub share: [f64; 2],
    /// The mean of (attribute − target) × concept, likewise: what is made small.
    pub moment: [f64; 2],
}

impl Report {
    /// Compares.
    pub fn new(labels: &Labels, attributes: &[String], concepts: &[String], balance: &Balance) -> Self {
        let (examples, weights) = (labels.keys.len(), &balance.weights);
        let sums = |power: i32| weights.iter().map(|weight| f64::from(*weight).powi(power)).sum::<f64>();
        let (sum, squares) = (sums(1), sums(2));
        // The weighted mean of deviation × factor, and the weighted share of the attribute among what the factor selects.
        let measure = |attribute: usize, factor: &dyn Fn(usize) -> f64, is_weighted: bool| {
            let (mut moment, mut share, mut known, mut all) = (0.0, 0.0, 0.0, 0.0);
            for (index, weight) in weights.iter().enumerate() {
                let weight = if is_weighted { f64::from(*weight) } else { 1.0 };
                all += weight;
                let value = labels.attributes.get(index * attributes.len() + attribute).copied().unwrap_or(f32::NAN);
                if !value.is_nan() {
                    let own = weight * factor(index);
                    moment += own * f64::from(value - labels.targets[attribute]);
                    share += own * f64::from(value);
                    known += own;
                }
            }
            (share / known, moment / all)
        };
        let both = |attribute, factor: &dyn Fn(usize) -> f64| [false, true].map(|is_weighted| measure(attribute, factor, is_weighted));
        let (mut shares, mut associations) = (Vec::new(), Vec::new());
        for (index, attribute) in attributes.iter().enumerate() {
            let share = both(index, &|_| 1.0).map(|(share, _)| share);
            shares.push(Share { attribute: attribute.clone(), target: labels.targets[index].into(), share });
            for (column, concept) in concepts.iter().enumerate() {
                let own = both(index, &|row| labels.concepts.get(row * concepts.len() + column).copied().unwrap_or_default().into());
                let (share, moment) = (own.map(|(share, _)| share), own.map(|(_, moment)| moment));
                associations.push(Association { attribute: attribute.clone(), concept: concept.clone(), share, moment });
            }
        }
        let gap = balance.gap / balance.objective.max(f64::MIN_POSITIVE);
        Self { examples, mean_weight: sum / examples as f64, effective: sum * sum / squares, shares, associations, gap }
    }

    /// As tables.
    pub fn to_markdown(&self) -> String {
        let Self { examples, mean_weight, effective, shares, associations, .. } = self;
        let mut text = format!(
            "{examples} examples; mean weight {mean_weight:.3}, as sure as {effective:.0} of equal weight.\n\n\
             | attribute | target % | before % | after % |\n|---|---:|---:|---:|\n"
        );
        for Share { attribute, target, share } in shares {
            let [before, after] = share.map(|share| 100.0 * share);
            let _ = writeln!(text, "| {attribute} | {:.1} | {before:.1} | {after:.1} |", 100.0 * target);
        }
        if !associations.is_empty() {
            text.push_str("\n| attribute | where there is | before % | after % | moment before | after |\n|---|---|---:|---:|---:|---:|\n");
        }
        for Association { attribute, concept, share, moment } in associations {
            let [before, after] = share.map(|share| 100.0 * share);
            let _ = writeln!(text, "| {attribute} | {concept} | {before:.1} | {after:.1} | {:+.4} | {:+.4} |", moment[0], moment[1]);
        }
        text
    }
}
