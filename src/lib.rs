//! Polyglance.

pub mod config;
pub mod encoder;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod kernels;
pub mod image;
pub mod limits;
pub mod platform;
pub mod weights;
