//! What happens when a loss or a gradient is infinite or NaN: it never reaches the optimiser.

/// Steps that may be skipped in a row before the run goes back to its last checkpoint.
pub const MAX_SKIPPED_IN_ROW: u32 = 3;
/// Times that a run goes back without a new checkpoint in between before it gives up.
const MAX_ROLLBACKS: u32 = 3;

/// What to do about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave the parameters as they are and go on with the next batch.
    Skip,
    /// Take the parameters and moments of the last checkpoint, and go on with the next batch: the same ones would fail again.
    RollBack,
    /// End the run.
    GiveUp {
        /// Times that it went back.
        rollbacks: u32,
    },
}

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    skipped: u32,
    rollbacks: u32,
}

impl Guard {
    /// Goes on where a checkpoint left.
    pub fn resumed(skipped: u32) -> Self {
        Self { skipped, rollbacks: 0 }
    }

    /// Steps skipped in a row.
    pub fn skipped(&self) -> u32 {
        self.skipped
    }

    /// A step was fine.
    pub fn passed(&mut self) {
        self.skipped = 0;
    }

    /// A checkpoint was written from which there is no going back.
    pub fn saved(&mut self) {
        self.rollbacks = 0;
    }

    /// A step was not.
    pub fn failed(&mut self) -> Verdict {
        if self.skipped < MAX_SKIPPED_IN_ROW {
            self.skipped += 1;
            return Verdict::Skip;
        }
        self.skipped = 0;
        if self.rollbacks == MAX_ROLLBACKS {
            return Verdict::GiveUp { rollbacks: self.rollbacks };
        }
        self.rollbacks += 1;
        Verdict::RollBack
    }
}
