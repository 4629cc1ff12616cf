//! From pixels to patches: the target grid, resizing and flattening, and packed batches.
//!
//! NaFlex and fixed-resolution models share the path; only the size that the image is resized to differs.

use std::str::FromStr;

use image::RgbImage;

use super::ImageError;
use crate::config::{Filter, VisionConfig, VisionGeometry};
use crate::kernels::{ImageToPatches, Size, resize};
use crate::limits;

/// How pixels are averaged when an image is resized. Both are antialiased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resampling {
    /// Bit for bit what `transformers` 5.23 computes on a CPU: torchvision's uint8 kernel with the model's filter, then (x − 127.5) / 127.5.
    #[default]
    Hf,
    /// What big_vision's NaFlex pipeline computes: values scaled to −1..1 first, then a bilinear filter in f32, never rounded. (big_vision's
    /// fixed-resolution demo resizes without antialiasing; here fixed-resolution models use the same filter as NaFlex ones.)
    Jax,
}

impl Resampling {
    /// As [`FromStr`] reads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hf => "hf",
            Self::Jax => "jax",
        }
    }
}

impl FromStr for Resampling {
    type Err = ImageError;

    fn from_str(name: &str) -> Result<Self, ImageError> {
        match name {
            "hf" => Ok(Self::Hf),
            "jax" => Ok(Self::Jax),
            _ => Err(ImageError::Resampling { name: name.to_owned() }),
        }
    }
}

/// Size of an image in patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl Grid {
    /// Patches in all: the image's tokens.
    pub const fn patches(self) -> usize {
        self.rows * self.cols
    }

    /// Row and column of the patch at a place, given as shares of the image's width and height; none outside the image.
    pub fn cell_at(self, place: [f64; 2]) -> Option<[usize; 2]> {
        let cell = |share: f64, cells: usize| {
            let last = cells.checked_sub(1)?;
            (0.0..=1.0).contains(&share).then(|| ((share * cells as f64) as usize).min(last))
        };
        let [x, y] = place;
        Some([cell(y, self.rows)?, cell(x, self.cols)?])
    }

    /// The middle of a patch, as shares of the image's width and height.
    pub fn middle_of(self, [row, col]: [usize; 2]) -> [f64; 2] {
        [(col as f64 + 0.5) / self.cols as f64, (row as f64 + 0.5) / self.rows as f64]
    }
}

/// The grid that NaFlex resizes an image of `height` × `width` pixels to: as many patches as fit into `max_num_patches`, at nearly the
/// image's aspect ratio. Small images are enlarged (at most a hundredfold).
///
/// This is `get_image_size_for_max_num_patches` of `transformers`, in the same f64 operations: an exact integer search differs from it
/// for some large images.
///
/// # Errors
/// A side, the patch size or the budget is zero, or above [`limits::IMAGE_SIDE`] or [`limits::MAX_NUM_PATCHES`].
pub fn target_grid(height: usize, width: usize, patch_size: usize, max_num_patches: usize) -> Result<Grid, ImageError> {
    check_image_sides(height, width)?;
    check_patch_size(patch_size)?;
    if !(1..=limits::MAX_NUM_PATCHES).contains(&max_num_patches) {
        return Err(ImageError::Budget { max_num_patches });
    }
    let patches_along = |scale: f64, side: usize| ((side as f64 * scale) / patch_size as f64).ceil().max(1.0);
    let (mut fits, mut exceeds) = (TOLERANCE / 10.0, 100.0);
    while exceeds - fits >= TOLERANCE {
        let scale = (fits + exceeds) / 2.0;
        if patches_along(scale, height) * patches_along(scale, width) <= max_num_patches as f64 {
            fits = scale;
        } else {
            exceeds = scale;
        }
    }
    Ok(Grid { rows: patches_along(fits, height) as usize, cols: patches_along(fits, width) as usize })
}

/// Where the bisection of [`target_grid`] stops.
const TOLERANCE: f64 = 1e-5;

/// The patches of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// How the patches lie, row-major.
    pub grid: Grid,
    /// `[rows · cols, patch_size · patch_size · 3]`; inside a patch (y, x, channel), channel fastest; from −1 (black) to 1 (white).
    pub values: Vec<f32>,
}

/// Resizes `image` to exactly `grid` and cuts it into patches.
///
/// # Errors
/// The image, the grid or the patch size is empty or above the [`limits`].
pub fn patchify(image: &RgbImage, grid: Grid, patch_size: usize, resampling: Resampling) -> Result<Patches, ImageError> {
    let Grid { rows, cols } = grid;
    check_patch_size(patch_size)?;
    check_grid(grid)?;
    let source = size_of_image(image);
    check_image_sides(source.height, source.width)?;
    let target = Size { height: rows * patch_size, width: cols * patch_size };
    Ok(run(&ImageToPatches { source, target, rows, cols, patch_size, filter: Filter::Bilinear }, image, resampling))
}

/// The patches of `image` as `vision` wants them.
///
/// A NaFlex model gets at most `max_num_patches` patches (its own default if `None`) at the image's own aspect ratio. A
/// fixed-resolution model gets the image squashed to its square; pixels beyond the last whole patch are dropped, as its convolution does.
///
/// # Errors
/// As [`target_grid`]; also a `max_num_patches` for a fixed-resolution model.
pub fn preprocess(
    image: &RgbImage,
    vision: &VisionConfig,
    max_num_patches: Option<usize>,
    resampling: Resampling,
) -> Result<Patches, ImageError> {
    Ok(run(&patching(size_of_image(image), vision, max_num_patches)?, image, resampling))
}

/// How an image of this size becomes the patches that [`preprocess`] makes of it: what a GPU needs to do the same.
///
/// # Errors
/// As [`preprocess`].
pub fn patching(source: Size, vision: &VisionConfig, max_num_patches: Option<usize>) -> Result<ImageToPatches, ImageError> {
    let patch_size = vision.patch_size;
    check_patch_size(patch_size)?;
    let (grid, target) = match (vision.geometry, max_num_patches) {
        (VisionGeometry::NaFlex { .. }, budget) => {
            let budget = budget.unwrap_or(vision.preprocessing.max_num_patches);
            let grid = target_grid(source.height, source.width, patch_size, budget)?;
            (grid, Size { height: grid.rows * patch_size, width: grid.cols * patch_size })
        }
        (VisionGeometry::Fixed { image_size }, None) => {
            let grid = Grid { rows: vision.table_side(), cols: vision.table_side() };
            (grid, Size { height: image_size, width: image_size })
        }
        (VisionGeometry::Fixed { image_size }, Some(_)) => return Err(ImageError::BudgetOfFixedModel { image_size }),
    };
    check_grid(grid)?;
    check_image_sides(source.height, source.width)?;
    let Grid { rows, cols } = grid;
    Ok(ImageToPatches { source, target, rows, cols, patch_size, filter: vision.preprocessing.filter })
}

fn run(shape: &ImageToPatches, image: &RgbImage, resampling: Resampling) -> Patches {
    let values = match resampling {
        Resampling::Hf => shape.run(image.as_raw()),
        Resampling::Jax => shape.cut(&resize::floats(image.as_raw(), shape.source, shape.target), |value| value),
    };
    Patches { grid: Grid { rows: shape.rows, cols: shape.cols }, values }
}

fn size_of_image(image: &RgbImage) -> Size {
    Size { height: image.height() as usize, width: image.width() as usize }
}

fn check_image_sides(height: usize, width: usize) -> Result<(), ImageError> {
    let side = 1..=limits::IMAGE_SIDE as usize;
    if side.contains(&height) && side.contains(&width) { Ok(()) } else { Err(ImageError::Sides { height, width }) }
}

fn check_patch_size(patch_size: usize) -> Result<(), ImageError> {
    if (1..=limits::MAX_PATCH_SIZE).contains(&patch_size) { Ok(()) } else { Err(ImageError::PatchSize { patch_size }) }
}

fn check_grid(grid: Grid) -> Result<(), ImageError> {
    let side = 1..=limits::MAX_NUM_PATCHES;
    let fits = side.contains(&grid.rows) && side.contains(&grid.cols) && side.contains(&grid.patches());
    if fits { Ok(()) } else { Err(ImageError::Grid(grid)) }
}

/// The patches of several images, one after another without padding.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchBatch {
    values: Vec<f32>,
    grids: Vec<Grid>,
    offsets: Vec<u32>,
}

impl PatchBatch {
    /// Packs images, all of one patch size, in the given order.
    pub fn pack(patches: &[Patches]) -> Self {
        let mut values = Vec::with_capacity(patches.iter().map(|image| image.values.len()).sum());
        let mut offsets = Vec::with_capacity(patches.len() + 1);
        let mut tokens = 0;
        offsets.push(tokens);
        for image in patches {
            values.extend_from_slice(&image.values);
            tokens += image.grid.patches() as u32;
            offsets.push(tokens);
        }
        Self { values, grids: patches.iter().map(|image| image.grid).collect(), offsets }
    }

    /// `[tokens, patch_size · patch_size · 3]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One grid per image.
    pub fn grids(&self) -> &[Grid] {
        &self.grids
    }

    /// Image `i` owns tokens `offsets[i]..offsets[i + 1]`: one entry more than there are images.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// Tokens of all images.
    pub fn tokens(&self) -> usize {
        self.grids.iter().map(|grid| grid.patches()).sum()
    }

    /// Images.
    pub fn len(&self) -> usize {
        self.grids.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.grids.is_empty()
    }
}
