//! What a checkpoint's `preprocessor_config.json` says about preparing images.

use serde::Deserialize;

use super::{ConfigError, ModelConfig, VisionGeometry, ensure};
use crate::limits;

/// Filter for resizing images; antialiased in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// SigLIP 2's.
    #[default]
    Bilinear,
    /// What SigLIP 1's published processors ask for.
    Bicubic,
}

/// How a model's images are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocessing {
    /// Filter for resizing.
    pub filter: Filter,
    /// Patches per image of a NaFlex model when the caller does not choose.
    pub max_num_patches: usize,
}

impl Preprocessing {
    /// What every released SigLIP 2 checkpoint says, and what holds where a checkpoint says nothing.
    pub const SIGLIP2: Self = Self { filter: Filter::Bilinear, max_num_patches: 256 };
}

/// The keys that matter. `processor_config.json`, which newer versions of `transformers` write instead, has them one level down.
#[derive(Default, Deserialize)]
struct Raw {
    image_processor: Option<Box<Raw>>,
    resample: Option<u8>,
    rescale_factor: Option<f64>,
    image_mean: Option<Vec<f64>>,
    image_std: Option<Vec<f64>>,
    do_resize: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
    size: Option<RawSize>,
    patch_size: Option<usize>,
    max_num_patches: Option<usize>,
}

#[derive(Deserialize)]
struct RawSize {
    height: Option<usize>,
    width: Option<usize>,
}

impl ModelConfig {
    /// The configuration with the image settings of a `preprocessor_config.json` or `processor_config.json`. Missing keys take the class
    /// defaults of `transformers`, where SigLIP 1's filter is bicubic and NaFlex's bilinear.
    ///
    /// # Errors
    /// Not JSON, settings that contradict the model, or that no SigLIP model has.
    pub fn with_preprocessor_json(mut self, json: &[u8]) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_slice(json).map_err(ConfigError::PreprocessorJson)?;
        let raw = raw.image_processor.map_or(Raw { image_processor: None, ..raw }, |nested| *nested);
        self.vision.preprocessing = raw.check(&self)?;
        Ok(self)
    }
}

impl Raw {
    fn check(&self, model: &ModelConfig) -> Result<Preprocessing, ConfigError> {
        let vision = &model.vision;
        let halves = |values: &Option<Vec<f64>>| values.iter().flatten().all(|&value| value == 0.5);
        ensure(halves(&self.image_mean) && halves(&self.image_std), || {
            "the image processor's image_mean and image_std must be 0.5, as in every SigLIP model".to_owned()
        })?;
        ensure(self.rescale_factor.is_none_or(|factor| (factor * 255.0 - 1.0).abs() < 1e-9), || {
            "the image processor's rescale_factor must be 1/255".to_owned()
        })?;
        ensure([self.do_resize, self.do_rescale, self.do_normalize].iter().all(|step| step.unwrap_or(true)), || {
            "the image processor turns a step off (do_resize, do_rescale or do_normalize); every SigLIP model needs them".to_owned()
        })?;
        let patch_size = self.patch_size.unwrap_or(vision.patch_size);
        ensure(patch_size == vision.patch_size, || {
            format!("the image processor's patch_size {patch_size} contradicts the model's {}", vision.patch_size)
        })?;
        let max_num_patches = self.max_num_patches.unwrap_or(Preprocessing::SIGLIP2.max_num_patches);
        ensure((1..=limits::MAX_NUM_PATCHES).contains(&max_num_patches), || {
            format!("the image processor's max_num_patches is {max_num_patches}, outside 1 to {}", limits::MAX_NUM_PATCHES)
        })?;
        let mut default_filter = Filter::Bilinear;
        if let VisionGeometry::Fixed { image_size } = vision.geometry {
            default_filter = Filter::Bicubic;
            let sides = self.size.iter().flat_map(|size| [size.height, size.width]).flatten();
            for side in sides {
                ensure(side == image_size, || {
                    format!("the image processor resizes to {side} pixels, but the model's images have {image_size}")
                })?;
            }
        }
        // Numbers of PIL's enumeration.
        let filter = match self.resample {
            None => default_filter,
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(other) => {
                return Err(ConfigError::Contradiction(format!(
                    "the image processor's resample is {other}; Polyglance has 2 (bilinear) and 3 (bicubic)"
                )));
            }
        };
        Ok(Preprocessing { filter, max_num_patches })
    }
}
