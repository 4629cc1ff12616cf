//! Checkpoints: opened by folder or from any [`ByteSource`], checked against their configuration, read lazily one tensor at a time.
//!
//! Three formats give the same tensors under the same names: safetensors in one file or sharded, and big_vision's `.npz`. F32, F16 and
//! BF16 all arrive as f32. The token table is never read whole: [`Checkpoint::read_rows`] gathers the rows in use.

mod array;
mod big_vision;
mod binding;
mod checkpoint;
#[cfg(not(target_family = "wasm"))]
mod companions;
mod dtype;
mod error;
pub mod hub;
mod inflate;
mod names;
mod npz;
mod safetensors;
mod source;
#[cfg(not(target_family = "wasm"))]
mod write;
mod zip;

pub use binding::TensorInfo;
pub use checkpoint::Checkpoint;
#[cfg(not(target_family = "wasm"))]
pub use companions::write_companions;
pub use dtype::Dtype;
pub use error::WeightsError;
pub use names::{TOKEN_TABLE, TensorSpec, expected_tensors};
pub use npz::read_npy;
pub use safetensors::token_table;
#[cfg(not(target_family = "wasm"))]
pub use source::FileSource;
pub use source::{ByteSource, MemorySource, ReadFuture};
#[cfg(not(target_family = "wasm"))]
pub use write::{OutputTensor, OutputValues, PendingFile, StreamedTensor, replace_file, safetensors_bytes, write_safetensors};
