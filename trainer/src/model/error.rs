//! What can go wrong between a batch or a checkpoint and a model.

use polyglance::image::Grid;
use polyglance::weights::WeightsError;

/// Why a model could not be read, written or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The checkpoint cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor is missing from the values that a model is built from, or has another shape.
    #[error("tensor {name:?} should have shape {expected:?}, found {found:?}; does config.json belong to these weights?")]
    Tensor {
        /// Its Hugging Face name.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape found; nothing if the tensor is missing.
        found: Option<Vec<usize>>,
    },
    /// Half precision cannot hold a value.
    #[error("tensor {name:?} has a value of magnitude {magnitude:e}, more than half precision holds; export in F32")]
    Overflow {
        /// The tensor.
        name: String,
        /// Its largest magnitude.
        magnitude: f32,
    },
    /// A batch of patches for a model with another patch size, or an empty batch.
    #[error("a batch of {tokens} patches with {values} values does not fit a model with {patch_dim} values per patch")]
    Patches {
        /// Patches of all images.
        tokens: usize,
        /// Their values.
        values: usize,
        /// Values per patch that the model reads.
        patch_dim: usize,
    },
    /// A grid that a fixed-resolution model cannot see.
    #[error("a fixed-resolution model sees {side} × {side} patches, not {} × {}", .grid.rows, .grid.cols)]
    Grid {
        /// The image's grid.
        grid: Grid,
        /// Side of the model's grid.
        side: usize,
    },
    /// A text of another length than the model's.
    #[error("a text has {len} tokens, the model reads exactly {positions}; use the model's tokenizer settings")]
    TextLength {
        /// Tokens of the text.
        len: usize,
        /// Positions of the model.
        positions: usize,
    },
    /// A token outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab_size}; is this another model's tokenizer?")]
    TokenId {
        /// The id.
        id: u32,
        /// Rows of the token table.
        vocab_size: usize,
    },
    /// An empty batch of texts.
    #[error("a batch needs at least one text")]
    NoTexts,
    /// Images and texts that do not belong together.
    #[error("{images} images and {texts} texts: every image needs as many texts as the others")]
    Pairs {
        /// Images of the batch.
        images: usize,
        /// Texts of the batch.
        texts: usize,
    },
    /// The device failed.
    #[error("the device failed to compute or to return values: {0}")]
    Device(String),
}
