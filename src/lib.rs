//! Polyglance.

pub mod config;
pub mod limits;
