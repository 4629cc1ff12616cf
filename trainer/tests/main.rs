//! The trainer's integration tests: one binary, a module per subject.

mod checkpoint;
mod metrics;
mod optimizer;
mod recipe;
