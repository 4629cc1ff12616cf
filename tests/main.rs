mod images;

//! The integration tests: one binary, one module per subject.

mod reference;
