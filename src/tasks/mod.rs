//! What embeddings are for. Tasks work on plain slices of embeddings, so they run the same whatever made them.

mod batch;
mod classify;
pub mod dense;
mod npy;

pub use batch::Batcher;
pub use classify::{Classifier, LabelScore, TaskError};
pub use npy::write_npy;
