//! The trainer's integration tests: one binary, one module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, helpers included")]
#![allow(clippy::disallowed_methods, reason = "tests run natively and measure time")]

mod balance;
mod checkpoint;
mod data;
mod evaluate;
mod folders;
mod gradients;
mod losses;
mod metrics;
mod optimizer;
mod recipe;
mod steps;
mod support;
mod synth;
mod train;
