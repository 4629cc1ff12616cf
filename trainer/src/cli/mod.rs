//! The command line, one file per command.

pub(crate) mod synth;
