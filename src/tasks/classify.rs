//! Zero-shot classification: one image embedding against label embeddings.
//!
//! SigLIP is trained with a sigmoid per pair, so every label is judged alone (arXiv 2502.14786, section 2.1). Three numbers follow,
//! which must not be mixed up; [`LabelScore`] names them.

/// How well one label fits one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelScore {
    /// `exp(logit_scale) · cosine + logit_bias`, the model's raw output.
    pub logit: f32,
    /// `sigmoid(logit)`: the model's belief that this label alone is right. All may be low, or several high. Absolute values are
    /// conservative, because training saw far more wrong pairs than right ones.
    pub probability: f32,
    /// `softmax` of the logits over this image's labels: sums to 1, and says only how the given labels compare.
    pub share: f32,
}

impl LabelScore {
    /// The place of the highest logit.
    pub fn best(scores: &[Self]) -> Option<usize> {
        (0..scores.len()).max_by(|&a, &b| scores[a].logit.total_cmp(&scores[b].logit))
    }

    /// The three numbers of every label, from their logits.
    pub fn all(logits: &[f64]) -> Vec<Self> {
        // The largest logit is taken out first, so that no exponential overflows.
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        let score = |logit: &f64| Self {
            logit: *logit as f32,
            probability: (1.0 / (1.0 + (-logit).exp())) as f32,
            share: ((logit - largest).exp() / total) as f32,
        };
        logits.iter().map(score).collect()
    }
}

/// Why a task could not be done.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TaskError {
    /// Values that are not a whole number of embeddings, or none.
    #[error("{what}: {values} values are not one or more embeddings of length {dim}")]
    Length {
        /// Which embeddings.
        what: &'static str,
        /// Values found.
        values: usize,
        /// Values in one embedding.
        dim: usize,
    },
    /// A place outside the image.
    #[error("({x}, {y}) is outside the image, which goes from (0, 0) to (1, 1)")]
    Outside {
        /// Share of the image's width.
        x: f64,
        /// Share of its height.
        y: f64,
    },
    /// A result that is not a finite number.
    #[error("{what} is not a finite number; the checkpoint's weights may be damaged")]
    NotFinite {
        /// Which result.
        what: &'static str,
    },
}

/// Labels ready to be compared with images.
#[derive(Clone, Debug)]
pub struct Classifier {
    label_embeds: Vec<f32>,
    dim: usize,
    scale: f64,
    bias: f64,
}

impl Classifier {
    /// Takes unit label embeddings `[labels, dim]` and the model's two scalars; `logit_scale` is the logarithm that checkpoints store.
    ///
    /// # Errors
    /// No label, a length that is no multiple of `dim`, or scalars that are not finite.
    pub fn new(label_embeds: Vec<f32>, dim: usize, logit_scale: f32, logit_bias: f32) -> Result<Self, TaskError> {
        check_rows("label embeddings", &label_embeds, dim)?;
        let (scale, bias) = (f64::from(logit_scale).exp(), f64::from(logit_bias));
        if !(scale.is_finite() && bias.is_finite()) {
            return Err(TaskError::NotFinite { what: "the logit scale or bias" });
        }
        Ok(Self { label_embeds, dim, scale, bias })
    }

    /// Scores every label, in the order of the label embeddings, for one unit image embedding `[dim]`.
    ///
    /// Computed in f64 and rounded once.
    ///
    /// # Errors
    /// An embedding of another length, or one that holds a number that is not finite.
    pub fn scores(&self, image_embed: &[f32]) -> Result<Vec<LabelScore>, TaskError> {
        if image_embed.len() != self.dim {
            return Err(TaskError::Length { what: "image embedding", values: image_embed.len(), dim: self.dim });
        }
        let logits: Vec<f64> =
            self.label_embeds.chunks_exact(self.dim).map(|label| self.scale * dot(label, image_embed) + self.bias).collect();
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(TaskError::NotFinite { what: "a logit" });
        }
        Ok(LabelScore::all(&logits))
    }
}

/// An error unless `values` is one or more whole rows.
pub(super) fn check_rows(what: &'static str, values: &[f32], dim: usize) -> Result<(), TaskError> {
    if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
        return Err(TaskError::Length { what, values: values.len(), dim });
    }
    Ok(())
}

/// Summed in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f32, expected: f64) {
        assert!((f64::from(got) - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "{got} is not {expected}");
    }

    /// exp(ln 10) · {1, 0.6, -1} - 10 by hand, and the two functions of it.
    #[test]
    fn three_numbers_by_their_definitions() {
        let classifier = Classifier::new(vec![1.0, 0.0, 0.6, 0.8, -1.0, 0.0], 2, 10f32.ln(), -10.0).unwrap();
        let scores = classifier.scores(&[1.0, 0.0]).unwrap();
        let logits = [0.0, -4.0, -20.0f64];
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        for (score, logit) in scores.iter().zip(logits) {
            assert!((f64::from(score.logit) - logit).abs() < 2e-6, "{score:?} is not {logit}");
            assert!((f64::from(score.probability) - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
            assert!((f64::from(score.share) - logit.exp() / total).abs() < 1e-6);
        }
        // What sigmoid and softmax are for: the first is even odds by itself, yet takes nearly the whole share.
        close(scores[0].probability, 0.5);
        assert!(scores[0].share > 0.98);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let classifier = Classifier::new(vec![1.0, -1.0], 1, 7.0, 0.0).unwrap();
        let scores = classifier.scores(&[1.0]).unwrap();
        assert_eq!((scores[0].probability, scores[1].probability), (1.0, 0.0));
        assert_eq!((scores[0].share, scores[1].share), (1.0, 0.0));
    }

    #[test]
    fn one_label_has_the_whole_share() {
        assert_eq!(Classifier::new(vec![0.5], 1, 0.0, -20.0).unwrap().scores(&[1.0]).unwrap()[0].share, 1.0);
    }

    #[test]
    fn what_cannot_be_scored_is_an_error() {
        assert!(Classifier::new(vec![], 2, 0.0, 0.0).is_err());
        assert!(Classifier::new(vec![1.0; 3], 2, 0.0, 0.0).is_err());
        assert!(Classifier::new(vec![1.0; 2], 2, f32::NAN, 0.0).is_err());
        assert!(Classifier::new(vec![1.0; 2], 2, 1000.0, 0.0).is_err());
        let classifier = Classifier::new(vec![1.0, 0.0], 2, 0.0, 0.0).unwrap();
        assert!(classifier.scores(&[1.0]).is_err());
        assert_eq!(classifier.scores(&[f32::NAN, 0.0]), Err(TaskError::NotFinite { what: "a logit" }));
    }
}
