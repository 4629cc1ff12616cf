//! The integration tests: one binary, one module per subject.

#[cfg(feature = "gpu")]
mod gpu;
mod images;
mod reference;
