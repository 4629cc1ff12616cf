//! Weights for examples under which a data set is balanced: moment matching as in "CLIP the bias" (Alabdulmohsin et al., 2024).
//!
//! First order: each attribute, such as who is seen, is as frequent as its target. Second order: no attribute goes together with a concept, such as an
//! occupation. The weights stay as near to 1 as that allows.

mod report;
mod solve;
mod table;

pub use report::{Association, Report, Share};
pub use solve::{Balance, Bounds, solve};
pub use table::{Labels, LabelsError};
