//! Polyglance.
