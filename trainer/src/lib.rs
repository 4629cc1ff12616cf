//! The SigLIP 2 recipe: what `polyglance-trainer` is made of.

pub mod random;
pub mod synth;
