//! Three ways of fitting an image of any shape into a number of patches.

use std::str::FromStr;

use image::{Rgb, RgbImage, imageops};
use polyglance::config::{VisionConfig, VisionGeometry};
use polyglance::image::{Grid, ImageError, Patches, Resampling, patchify, preprocess};
use polyglance::limits::Limits;
use serde::Serialize;

/// How an image becomes patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fitting {
    /// As the model was made for: NaFlex at the image's own aspect ratio; the model's square for a fixed-resolution one.
    #[default]
    Native,
    /// Squashed to the largest square grid within the budget.
    Squash,
    /// Centred on a grey square, which is cut into that same grid: nothing is distorted, but bars use up patches.
    Letterbox,
}

impl FromStr for Fitting {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "native" => Ok(Self::Native),
            "squash" => Ok(Self::Squash),
            "letterbox" => Ok(Self::Letterbox),
            _ => Err(format!("{name:?} is no way of fitting images; use \"native\", \"squash\" or \"letterbox\"")),
        }
    }
}

impl Fitting {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Squash => "squash",
            Self::Letterbox => "letterbox",
        }
    }

    /// The patches of `image`, at most `max_num_patches` of them; `None` for the model's own number.
    ///
    /// # Errors
    /// As [`preprocess`]; also a letterbox around an image so long that its square passes the pixel limit.
    pub fn patches(
        self,
        image: &RgbImage,
        vision: &VisionConfig,
        max_num_patches: Option<usize>,
        resampling: Resampling,
    ) -> Result<Patches, ImageError> {
        if self == Self::Native {
            return preprocess(image, vision, max_num_patches, resampling);
        }
        if let VisionGeometry::Fixed { image_size } = vision.geometry {
            return Err(ImageError::BudgetOfFixedModel { image_size });
        }
        let side = max_num_patches.unwrap_or(vision.preprocessing.max_num_patches).isqrt();
        let grid = Grid { rows: side, cols: side };
        match self {
            Self::Letterbox => patchify(&letterbox(image)?, grid, vision.patch_size, resampling),
            _ => patchify(image, grid, vision.patch_size, resampling),
        }
    }
}

/// The middle of the value range, which is 0 after preprocessing.
const GREY: Rgb<u8> = Rgb([128; 3]);

/// The smallest square that holds `image`, which stays as it is in its middle.
fn letterbox(image: &RgbImage) -> Result<RgbImage, ImageError> {
    let side = image.width().max(image.height());
    let limit = Limits::current().image_pixels;
    if u64::from(side) * u64::from(side) > limit {
        return Err(ImageError::TooManyPixels { width: side, height: side, limit });
    }
    let mut square = RgbImage::from_pixel(side, side, GREY);
    let (left, top) = ((side - image.width()) / 2, (side - image.height()) / 2);
    imageops::replace(&mut square, image, left.into(), top.into());
    Ok(square)
}
