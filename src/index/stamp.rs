//! [`Stamp`]: what an index was made of, and how.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::VisionGeometry;
use crate::encoder::Encoder;
use crate::image::Resampling;

/// How an index was made: what it is compared with must be made alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The folder: on a disk, its absolute path.
    pub root: String,
    /// The model, as it was named.
    pub model: String,
    /// Values of an embedding.
    pub dim: usize,
    /// Most patches of a picture, for NaFlex models.
    pub max_num_patches: Option<usize>,
    /// How pictures are scaled.
    pub resampling: String,
    /// The bits of the model's scale and bias of logits: a name may come to mean another training run, which has others.
    pub calibration: [u32; 2],
}

impl Stamp {
    /// How an index of the folder `root` is made with a model that is called `model`.
    pub fn new(root: &str, model: &str, encoder: &Encoder, max_num_patches: Option<usize>, resampling: Resampling) -> Self {
        let vision = encoder.config().vision;
        let is_naflex = matches!(vision.geometry, VisionGeometry::NaFlex { .. });
        Self {
            root: root.to_owned(),
            model: model.to_owned(),
            dim: encoder.config().embedding_dim(),
            max_num_patches: is_naflex.then(|| max_num_patches.unwrap_or(vision.preprocessing.max_num_patches)),
            resampling: resampling.name().to_owned(),
            calibration: calibration(encoder),
        }
    }

    /// What a program calls the index with this stamp: after its folder, and unlike any other.
    pub fn index_name(&self) -> String {
        let digest = Sha256::digest(self.to_string());
        let mark: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let folder = self.root.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
        // A dot would begin an extension.
        let plain: String = folder.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(40).collect();
        format!("{plain}-{mark}")
    }

    /// Whether this is the very model that an index was made with, whatever either is called.
    pub fn fits(&self, encoder: &Encoder) -> bool {
        self.dim == encoder.config().embedding_dim() && self.calibration == calibration(encoder)
    }
}

fn calibration(encoder: &Encoder) -> [u32; 2] {
    [encoder.logit_scale(), encoder.logit_bias()].map(f32::to_bits)
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} with {}", self.root, self.model)?;
        if let Some(patches) = self.max_num_patches {
            write!(f, " at {patches} patches")?;
        }
        let [scale, bias] = self.calibration.map(f32::from_bits);
        write!(f, " ({} values, scaled as {} does; logits by {scale} and {bias})", self.dim, self.resampling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_folder() {
        let stamp = |root: &str, model: &str| Stamp {
            root: root.to_owned(),
            model: model.to_owned(),
            dim: 8,
            max_num_patches: None,
            resampling: "hf".to_owned(),
            calibration: [0, 0],
        };
        let name = stamp("/pictures/Bilder 2024.neu", "demo").index_name();
        assert!(name.starts_with("Bilder-2024-neu-") && name.len() == 16 + 12, "{name}");
        assert_ne!(name, stamp("/pictures/Bilder 2024.neu", "other").index_name());
    }
}
