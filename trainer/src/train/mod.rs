//! A training run: batches to gradients to steps, with checkpoints, evaluation and a guard on the way.

mod device;
mod exam;
mod gate;
mod guard;
mod probe;
mod step;
mod store;
mod trainer;

pub use device::open_device;
pub use exam::Judge;
pub use gate::compare_with_flex;
pub use guard::{Guard, MAX_SKIPPED_IN_ROW, Verdict};
pub use probe::{probe_speed, set_logit_bias};
pub use step::{StepPlan, batch_gradients};
pub use store::{Resumed, checkpoint_folder};
pub use trainer::{Ending, Trainer};

use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::evaluate::EvaluationError;
use crate::metrics::MetricsError;
use crate::model::ModelError;
use crate::optim::OptimError;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// No more batches.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot read a batch, or be read or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A state that does not fit, or a device that fails.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A report cannot be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// There is no such device here.
    #[error("{0}")]
    Device(String),
    /// A device computes other gradients than flex.
    #[error(
        "this device's gradient of {parameter} is {difference:.1e} of its size away from the CPU's; use another device, build without \
         the feature `fusion`, or look into it with --set device.gate=false"
    )]
    Gate {
        /// The worst.
        parameter: String,
        /// ‖g − g'‖ / ‖g'‖.
        difference: f64,
    },
    /// Numbers stay infinite or NaN.
    #[error("step {step}: {reason}, {rollbacks} times from the same checkpoint; a lower learning rate or more warm-up may help")]
    Diverged {
        /// Steps done.
        step: u64,
        /// The last reason.
        reason: String,
        /// Times that the run went back.
        rollbacks: u32,
    },
}
