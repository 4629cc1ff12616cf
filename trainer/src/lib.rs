//! The training side of Polyglance: the SigLIP 2 recipe, with the library's own configuration, image, text and weights code.

pub mod data;
pub mod evaluate;
pub mod init;
mod random;
