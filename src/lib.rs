//! Polyglance.

pub mod config;
pub mod image;
pub mod limits;
