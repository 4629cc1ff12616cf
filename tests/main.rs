//! The integration tests: one binary, one module per subject.

mod images;
mod parity;
mod reference;
mod support;
mod tmp_dbg;
