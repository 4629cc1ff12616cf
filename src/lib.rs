//! Polyglance.

pub mod config;
pub mod cpu;
pub mod encoder;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod image;
pub mod kernels;
pub mod limits;
pub mod platform;
pub mod tasks;
pub mod text;
pub mod weights;
