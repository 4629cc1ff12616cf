//! Integration tests: one binary, a module per part of the library.

mod text;
