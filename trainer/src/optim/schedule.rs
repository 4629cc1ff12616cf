//! Learning-rate schedules: big_vision's `create_learning_rate_schedule` (`utils.py`), a factor by step.

use serde::{Deserialize, Serialize};

/// What happens after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine down to 0 at the last step.
    #[default]
    Cosine,
    /// Stays at 1.
    Constant,
    /// 1/√step, scaled to be 1 at the end of warm-up.
    Rsqrt,
}

/// The recipe's `[schedule]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Steps of the run.
    pub steps: u64,
    /// Steps over which the factor rises linearly from 0.
    #[serde(default)]
    pub warmup: u64,
    /// What happens then.
    #[serde(default)]
    pub decay: Decay,
    /// Steps at the end over which the factor falls linearly to 0, for the decays that do not.
    #[serde(default)]
    pub cooldown: u64,
}

/// big_vision's default `timescale` of the reciprocal root.
const RSQRT_TIMESCALE: f64 = 10_000.0;

impl Schedule {
    /// The factor at `step`, counted from 0: the first step of a warm-up has factor 0.
    pub fn at(&self, step: u64) -> f64 {
        let (steps, warmup, step) = (self.steps as f64, self.warmup as f64, step as f64);
        let progress = ((step - warmup) / (steps - warmup).max(1.0)).clamp(0.0, 1.0);
        let decay = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Constant => 1.0,
            Decay::Rsqrt if step > warmup => ((step + RSQRT_TIMESCALE - warmup) / RSQRT_TIMESCALE).sqrt().recip(),
            Decay::Rsqrt => 1.0,
        };
        let rise = if self.warmup == 0 { 1.0 } else { (step / warmup).min(1.0) };
        let fall = if self.cooldown == 0 { 1.0 } else { ((steps - step) / self.cooldown as f64).clamp(0.0, 1.0) };
        decay * rise * fall
    }

    /// The first value that makes no sense, as a sentence.
    ///
    /// # Errors
    /// That sentence; it starts with the key.
    pub fn check(&self) -> Result<(), String> {
        match () {
            () if self.steps == 0 => Err("steps is 0; a run needs at least one".to_owned()),
            () if self.warmup + self.cooldown > self.steps => {
                Err(format!("warmup {} and cooldown {} exceed the {} steps", self.warmup, self.cooldown, self.steps))
            }
            () => Ok(()),
        }
    }
}
