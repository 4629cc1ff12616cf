//! What a model is trained to make small.

mod sigmoid;
mod step;

pub use crate::ops::Products;
pub use sigmoid::{PairGradients, sigmoid_loss, sigmoid_loss_gradients};
pub(crate) use step::{MicroBatch, split};
pub use step::{StepOptions, StepResult, loss_and_gradients};
