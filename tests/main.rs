//! The integration tests: one binary, one module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, helpers included")]
#![allow(clippy::disallowed_methods, reason = "tests run natively, measure time and read expected images without our decoder")]

#[cfg(feature = "app")]
mod app;
#[cfg(feature = "cli")]
mod cli;
mod config;
mod cpu;
#[cfg(feature = "demo-model")]
mod demo;
mod dense;
mod encoder;
mod engine;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(feature = "hub")]
mod hub;
mod images;
#[cfg(feature = "index")]
mod index;
mod parity;
mod reference;
mod soak;
mod support;
mod text;
mod weights;
