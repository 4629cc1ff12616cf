//! The integration tests: one binary, one module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, helpers included")]

mod config;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod images;
mod parity;
mod reference;
mod support;
mod text;
mod weights;
