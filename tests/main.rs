//! The integration tests: one binary, one module per subject.

mod images;
mod parity;
mod reference;
mod support;
//! Integration tests: one binary, a module per part of the library.

mod images;
mod config;
mod weights;
