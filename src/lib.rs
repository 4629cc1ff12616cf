//! Polyglance.

pub mod config;
pub mod kernels;
pub mod image;
pub mod limits;
pub mod platform;
pub mod weights;
