//! Image files to patches: decoding untrusted bytes under [`limits`], the NaFlex grid, resizing, packed batches.
//!
//! ```no_run
//! use polyglance::image::{Resampling, decode, patchify, target_grid};
//! use polyglance::limits::Limits;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let photo = decode(&std::fs::read("photo.jpg")?, &Limits::current())?;
//! let grid = target_grid(photo.pixels.height() as usize, photo.pixels.width() as usize, 16, 256)?;
//! let patches = patchify(&photo.pixels, grid, 16, Resampling::Hf)?;
//! assert_eq!(patches.values.len(), grid.patches() * 16 * 16 * 3);
//! # Ok(())
//! # }
//! ```

mod color;
mod decode;
mod formats;
mod naflex;
mod orientation;
mod preview;

pub use decode::{DecodedImage, decode};
pub use formats::{ExtensionSupport, UnsupportedFormat, decodable_extensions, extension_support};
pub use naflex::{Grid, PatchBatch, Patches, Resampling, patchify, patching, preprocess, target_grid};
pub use preview::preview;

use crate::limits;

/// Why an image could not be read or prepared. Callers add the file's name.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Zero bytes.
    #[error("the file is empty; copy or download it again")]
    Empty,
    /// More encoded bytes than the limit.
    #[error("the file has {bytes} bytes, more than the {limit} allowed; save it smaller or with stronger compression")]
    FileTooLarge {
        /// Size of the file.
        bytes: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// A recognised format without a decoder.
    #[error("{} files cannot be read; {}", .0.name, .0.advice)]
    Unsupported(&'static UnsupportedFormat),
    /// The first bytes belong to no known image format.
    #[error("this is not a known image format; use JPEG, PNG, WebP, GIF, BMP or TIFF")]
    UnknownFormat,
    /// A decodable format with a feature that its decoder lacks.
    #[error("this {format} uses a feature that cannot be read ({reason}); save it as an 8-bit RGB PNG or JPEG")]
    UnsupportedFeature {
        /// Name of the format.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// The bytes break the format's rules or end too early.
    #[error("this {format} is damaged or incomplete ({reason}); copy or export it again")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A side of the file's image is longer than [`limits::IMAGE_SIDE`].
    #[error("the image is more than {} pixels wide or high; scale it down or cut it into pieces", limits::IMAGE_SIDE)]
    SideTooLong,
    /// More pixels than the limit.
    #[error("the image has {width} × {height} pixels, more than the {limit} allowed; scale it down first")]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Most pixels allowed.
        limit: u64,
    },
    /// Decoding would allocate more than the limit.
    #[error("decoding this {format} needs too much memory; save it smaller, with 8 bits per channel and without large metadata")]
    TooMuchMemory {
        /// Name of the format.
        format: &'static str,
    },
    /// Sides that are zero or above [`limits::IMAGE_SIDE`].
    #[error("an image of {width} × {height} pixels has no patches; each side must be 1 to {}", limits::IMAGE_SIDE)]
    Sides {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// A patch size that is zero or above [`limits::MAX_PATCH_SIZE`].
    #[error("the patch size is {patch_size}; it must be 1 to {}", limits::MAX_PATCH_SIZE)]
    PatchSize {
        /// The patch size asked for.
        patch_size: usize,
    },
    /// A grid without patches or with more than [`limits::MAX_NUM_PATCHES`].
    #[error("a grid of {} × {} patches is outside 1 to {} patches", .0.rows, .0.cols, limits::MAX_NUM_PATCHES)]
    Grid(Grid),
    /// A budget of zero or above [`limits::MAX_NUM_PATCHES`].
    #[error("max_num_patches is {max_num_patches}; it must be 1 to {}", limits::MAX_NUM_PATCHES)]
    Budget {
        /// The budget asked for.
        max_num_patches: usize,
    },
    /// A budget for a model that has none.
    #[error("max_num_patches applies to NaFlex models only; this model always sees {image_size} × {image_size} pixels: leave it out")]
    BudgetOfFixedModel {
        /// Side of the model's square input, in pixels.
        image_size: usize,
    },
    /// A resampling mode that does not exist.
    #[error("there is no resampling mode {name:?}; use \"hf\" or \"jax\"")]
    Resampling {
        /// The name given.
        name: String,
    },
}
