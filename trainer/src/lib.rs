//! Training of SigLIP 2 models: the towers as differentiable modules, the losses, and what a run needs around them.

pub mod data;
pub mod evaluate;
pub mod init;
pub mod random;
