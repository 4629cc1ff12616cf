//! Encoder.

mod plan;

pub use plan::{BatchData, Buffer, BufferId, Plan, Role, Slots, Step, WeightId};
