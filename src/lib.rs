//! Polyglance.

pub mod config;
pub mod kernels;
pub mod limits;
pub mod platform;
