//! The optimiser: big_vision's chain (`optax.py`, `make`) on burn tensors, by parameter name.
//!
//! clip by global norm → Adam → × learning rate (× multiplier by name) → + decay × parameter on kernels → × schedule → −1.
//! Decay is therefore independent of the learning rate: a step shrinks a kernel by `weight_decay · schedule(step)`.

mod adam;
mod ema;
mod gradients;
mod groups;
mod rows;
mod schedule;

use std::collections::BTreeMap;

use burn::prelude::*;
use serde::{Deserialize, Serialize};

pub use adam::{AdamRecipe, FirstMoment};
pub use ema::Ema;
pub use gradients::{Gradients, RowGradient};
pub use groups::{Group, Groups};
pub use rows::RowMoments;
pub use schedule::{Decay, Schedule};

use adam::{Moments, Update};

/// The recipe's `[optimizer]` section.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerRecipe {
    /// Factor on Adam's direction.
    pub learning_rate: f64,
    /// Decoupled decay of kernels; not multiplied by the learning rate.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm; `inf` never clips.
    pub clip_norm: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// How the first moment is stored.
    pub first_moment: FirstMoment,
    /// Factors on the learning rate: the first pattern that matches a parameter's name counts, `*` stands for anything, 0 freezes.
    pub multipliers: Vec<(String, f64)>,
    /// Each block's learning rate is this times that of the block above it. Applied on top of `multipliers`.
    pub layer_decay: f64,
    /// Weight of the old average in the moving average of the parameters; 0 keeps none.
    pub ema_decay: f64,
}

impl Default for OptimizerRecipe {
    /// SigLIP 2, section 2.1; what it leaves open is optax's default.
    fn default() -> Self {
        let adam = AdamRecipe::default();
        Self {
            learning_rate: 1e-3,
            weight_decay: 1e-4,
            clip_norm: 1.0,
            beta1: adam.beta1,
            beta2: adam.beta2,
            epsilon: adam.epsilon,
            first_moment: adam.first_moment,
            multipliers: Vec::new(),
            layer_decay: 1.0,
            ema_decay: 0.0,
        }
    }
}

impl OptimizerRecipe {
    fn adam(&self) -> AdamRecipe {
        AdamRecipe { beta1: self.beta1, beta2: self.beta2, epsilon: self.epsilon, first_moment: self.first_moment }
    }

    /// The first value that makes no sense, as a sentence.
    ///
    /// # Errors
    /// That sentence; it starts with the key.
    pub fn check(&self) -> Result<(), String> {
        let share = |name: &str, value: f64| ensure((0.0..1.0).contains(&value), || format!("{name} is {value}, outside 0 ≤ x < 1"));
        let positive = |name: &str, value: f64| ensure(value > 0.0, || format!("{name} is {value}; it must be above 0"));
        let not_negative = |name: &str, value: f64| {
            ensure(value >= 0.0 && value.is_finite(), || format!("{name} is {value}; it must be a number of at least 0"))
        };
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("weight_decay", self.weight_decay)?;
        positive("clip_norm", self.clip_norm)?;
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)?;
        share("ema_decay", self.ema_decay)?;
        not_negative("epsilon", self.epsilon)?;
        positive("layer_decay", self.layer_decay)?;
        self.multipliers.iter().try_for_each(|(pattern, value)| not_negative(&format!("multipliers for {pattern:?}"), *value))
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

/// What an optimiser can move: tensors under their Hugging Face names, seen as one long row each.
pub trait Parameters {
    /// Replaces every tensor by what `update` makes of it; the number of values must stay. Tensors arrive without automatic differentiation.
    fn update(&mut self, update: &mut dyn FnMut(&str, Tensor<1>) -> Tensor<1>);
}

/// Why a step was not taken or a state not loaded.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// Infinity or NaN in a gradient. Neither the parameters nor the moments were touched.
    #[error("the gradient is not finite; first in {0}")]
    NotFinite(String),
    /// The device failed.
    #[error("the device could not return the gradient's norm: {0}")]
    Device(String),
    /// The state belongs to another model or another recipe.
    #[error("the optimiser's state does not fit the model: {0}")]
    State(String),
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepInfo {
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate times schedule.
    pub learning_rate: f64,
}

/// One host-side array of an optimiser's state, as checkpoints keep it.
#[derive(Clone, Debug, PartialEq)]
pub enum StateValues {
    /// Moments; bf16 ones widened, which loses nothing.
    F32(Vec<f32>),
    /// Counters.
    I32(Vec<i32>),
}

/// Adam's state by parameter name, and the rules that turn gradients into steps.
#[derive(Debug)]
pub struct Optimizer {
    recipe: OptimizerRecipe,
    schedule: Schedule,
    groups: Groups,
    moments: BTreeMap<String, Moments>,
    tables: BTreeMap<String, RowMoments>,
    /// Steps taken: what Adam's bias correction counts.
    updates: u64,
}

impl Optimizer {
    /// An optimiser without history.
    pub fn new(recipe: &OptimizerRecipe, schedule: Schedule, groups: Groups) -> Self {
        Self { recipe: recipe.clone(), schedule, groups, moments: BTreeMap::new(), tables: BTreeMap::new(), updates: 0 }
    }

    /// Multiplier and decay of every parameter.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Steps taken.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Learning rate times schedule at `step`, counted from 0.
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.recipe.learning_rate * self.schedule.at(step)
    }

    /// Moves the parameters against `gradients`. `step` counts from 0 and picks the schedule's value; parameters without a gradient
    /// or with multiplier 0 stay as they are.
    ///
    /// # Errors
    /// [`OptimError::NotFinite`]: nothing was changed.
    pub fn step(&mut self, parameters: &mut impl Parameters, mut gradients: Gradients, step: u64) -> Result<StepInfo, OptimError> {
        gradients.retain(|name| !self.groups.is_frozen(name));
        let gradient_norm = gradients.global_norm()?;
        let clip = if gradient_norm < self.recipe.clip_norm { 1.0 } else { self.recipe.clip_norm / gradient_norm };
        self.updates += 1;
        parameters.update(&mut |name, parameter| {
            let update = self.update_of(name, clip, step);
            if let Some(gradient) = gradients.take_dense(name) {
                let moments = self.moments.entry(name.to_owned()).or_insert_with(|| Moments::zeros(&gradient, self.recipe.first_moment));
                return moments.step(parameter, gradient, &update);
            }
            let Some(gradient) = gradients.take_rows(name) else { return parameter };
            let values = parameter.dims()[0];
            let table = self.tables.entry(name.to_owned()).or_insert_with(|| RowMoments::zeros(values, gradient.width()));
            table.step(parameter, &gradient, &update)
        });
        Ok(StepInfo { gradient_norm, learning_rate: self.learning_rate(step) })
    }

    fn update_of(&self, name: &str, clip: f64, step: u64) -> Update {
        let group = self.groups.get(name);
        Update {
            adam: self.recipe.adam(),
            updates: self.updates,
            clip,
            learning_rate: self.recipe.learning_rate * group.multiplier,
            weight_decay: if group.decayed { self.recipe.weight_decay } else { 0.0 },
            schedule: self.schedule.at(step),
        }
    }

    /// Every array of the state under a name of its own.
    ///
    /// # Errors
    /// The device failed.
    pub fn state(&self) -> Result<BTreeMap<String, StateValues>, OptimError> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            let (first, second) = moments.values()?;
            state.insert(format!("first/{name}"), StateValues::F32(first));
            state.insert(format!("second/{name}"), StateValues::F32(second));
        }
        for (name, table) in &self.tables {
            state.insert(format!("table_first/{name}"), StateValues::F32(table.first().to_vec()));
            state.insert(format!("table_second/{name}"), StateValues::F32(table.second().to_vec()));
            state.insert(format!("table_touched/{name}"), StateValues::I32(table.touched().to_vec()));
        }
        Ok(state)
    }

    /// Takes over a state that [`state`](Self::state) gave, `updates` steps old.
    ///
    /// # Errors
    /// [`OptimError::State`]: an array is missing or of the wrong length.
    pub fn load(&mut self, updates: u64, mut state: BTreeMap<String, StateValues>, device: &Device) -> Result<(), OptimError> {
        let names = |kind: &str| state.keys().filter_map(|key| key.strip_prefix(kind).map(str::to_owned)).collect::<Vec<_>>();
        let (dense, tables) = (names("first/"), names("table_first/"));
        for name in dense {
            let (first, second) = (take_f32(&mut state, "first", &name)?, take_f32(&mut state, "second", &name)?);
            self.moments.insert(name, Moments::from_values(first, second, self.recipe.first_moment, device)?);
        }
        for name in tables {
            let (first, second) = (take_f32(&mut state, "table_first", &name)?, take_f32(&mut state, "table_second", &name)?);
            let touched = take_i32(&mut state, "table_touched", &name)?;
            self.tables.insert(name, RowMoments::from_values(first, second, touched)?);
        }
        self.updates = updates;
        Ok(())
    }
}

fn take_f32(state: &mut BTreeMap<String, StateValues>, kind: &str, name: &str) -> Result<Vec<f32>, OptimError> {
    match state.remove(&format!("{kind}/{name}")) {
        Some(StateValues::F32(values)) => Ok(values),
        _ => Err(OptimError::State(format!("{kind}/{name} is missing"))),
    }
}

fn take_i32(state: &mut BTreeMap<String, StateValues>, kind: &str, name: &str) -> Result<Vec<i32>, OptimError> {
    match state.remove(&format!("{kind}/{name}")) {
        Some(StateValues::I32(values)) => Ok(values),
        _ => Err(OptimError::State(format!("{kind}/{name} is missing"))),
    }
}
