//! Polyglance.

pub mod config;
pub mod limits;
pub mod text;
