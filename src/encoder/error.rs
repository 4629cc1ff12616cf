//! Errors of this layer.

use crate::cpu::WrongWeight;
use crate::weights::WeightsError;

/// Why encoding failed.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The GPU failed in a way that no fallback mends, or the one that was asked for does not exist.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] crate::gpu::GpuError),
    /// See [`WrongWeight`].
    #[error(transparent)]
    WrongWeight(#[from] WrongWeight),
    /// A GPU was asked for, but this build has no GPU backend.
    #[error("this build has no GPU backend (the feature `gpu` is off); use the device cpu")]
    NoGpuBackend,
    /// An unknown precision name.
    #[error("there is no precision {0:?}; use auto, f32 or f16")]
    Precision(String),
    /// Patches whose size is not the model's.
    #[error("the model's patches have {expected} values each; prepare images with this model's configuration")]
    PatchSize {
        /// Values of one patch.
        expected: usize,
    },
    /// Hidden states whose rows are not the tower's.
    #[error("hidden states have {expected} values a row; use those that this model returned")]
    HiddenSize {
        /// Width of the vision tower.
        expected: usize,
    },
    /// Token sequences of the wrong length.
    #[error("the model takes exactly {expected} tokens per text, not {got}; use this model's tokenizer")]
    TokenCount {
        /// Positions of the text tower.
        expected: usize,
        /// Tokens given.
        got: usize,
    },
    /// A layer beyond the tower's depth.
    #[error("block {block} does not exist; the vision tower has blocks 0 to {}", depth - 1)]
    NoSuchBlock {
        /// The block asked for.
        block: usize,
        /// Blocks of the tower.
        depth: usize,
    },
    /// Features that the pooling head does not read.
    #[error("features after block {block} cannot be compared with texts: the pooling head reads those of the last layer")]
    NotPooled {
        /// The block that they come from.
        block: usize,
    },
    /// The model's output is not a number, even in f32 on the CPU: the weights or the input are damaged.
    #[error("the result {output} contains values that are not finite; the checkpoint is probably damaged: verify or download it again")]
    NonFinite {
        /// Name of the output.
        output: String,
    },
}
