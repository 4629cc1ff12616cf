//! Polyglance.

pub mod config;
pub mod cpu;
pub mod encoder;
pub mod kernels;
pub mod image;
pub mod limits;
pub mod platform;
pub mod weights;
