//! Training of SigLIP 2 models: the towers as differentiable modules, the losses, and what a run needs around them.
//!
//! Configurations, images, texts and checkpoint files are `polyglance`'s, so that training and inference cannot prepare their inputs
//! differently.

// burn's tensors nest more types than the default depth.
#![recursion_limit = "256"]

pub mod balance;
pub mod checkpoint;
pub mod data;
pub mod evaluate;
pub mod losses;
pub mod metrics;
pub mod model;
mod ops;
pub mod optim;
pub mod random;
pub mod recipe;
pub mod synth;
pub mod train;
