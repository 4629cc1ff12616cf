//! The optimiser: big_vision's chain (`optax.py`, `make`) on burn tensors, by parameter name.
//!
//! clip by global norm → Adam → × learning rate (× multiplier by name) → + decay × parameter on kernels → × schedule → −1.
//! Decay is therefore independent of the learning rate: a step shrinks a kernel by `weight_decay · schedule(step)`.

mod adam;
mod ema;
mod groups;
mod norm;
mod rows;
mod schedule;

use std::collections::BTreeMap;

use burn::prelude::*;
use polyglance::config::{ModelConfig, Preprocessing, TextConfig, TowerConfig, VisionConfig, VisionGeometry};
use serde::{Deserialize, Serialize};

pub use adam::{AdamRecipe, FirstMoment};
pub use ema::Ema;
pub use groups::{Group, Groups};
pub use norm::global_norm;
pub use rows::RowMoments;
pub use schedule::{Decay, Schedule};

use crate::model::{ModelGradients, ParameterMapper, ParameterVisitor, RowGradients, Siglip, TOKEN_TABLE};
use adam::{Moments, Update};
use rows::Coasting;

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

/// Replaces every parameter of a model by what `update` makes of it. Tensors arrive flat and without automatic differentiation, and with
/// no second owner unless the model has clones, so that they can be written in place.
pub fn map_flat(model: &mut Siglip, update: impl FnMut(&str, Tensor<1>) -> Tensor<1>) {
    let owned = std::mem::replace(model, stand_in());
    *model = owned.map_parameters(&mut Flat(update));
}

/// The smallest model, for the place of one that is being rebuilt.
fn stand_in() -> Siglip {
    let tower = TowerConfig { width: 1, mlp_dim: 1, depth: 1, heads: 1, layer_norm_eps: 1e-6 };
    let geometry = VisionGeometry::NaFlex { table_side: 1 };
    let vision = VisionConfig { tower, patch_size: 1, geometry, preprocessing: Preprocessing::SIGLIP2 };
    let text = TextConfig { tower, vocab_size: 1, positions: 2, projection_dim: 1 };
    Siglip::zeros(&ModelConfig { vision, text }, &Device::flex())
}

/// Shows every parameter of a model, flat and without automatic differentiation.
pub fn visit_flat(model: &Siglip, visit: impl FnMut(&str, Tensor<1>)) {
    model.visit_parameters(&mut Flat(visit));
}

struct Flat<F>(F);

impl<F: FnMut(&str, Tensor<1>)> ParameterVisitor for Flat<F> {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Tensor<D>) {
        let values = parameter.shape().num_elements();
        (self.0)(name, parameter.clone().without_autodiff().reshape([values]));
    }
}

impl<F: FnMut(&str, Tensor<1>) -> Tensor<1>> ParameterMapper for Flat<F> {
    fn map<const D: usize>(&mut self, name: &str, parameter: Tensor<D>) -> Tensor<D> {
        let (shape, records) = (parameter.dims(), parameter.is_autodiff());
        let flat = parameter.without_autodiff().reshape([shape.iter().product::<usize>()]);
        let new = (self.0)(name, flat).reshape(shape);
        if records { new.autodiff() } else { new }
    }
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
    /// The token table's.
    table: Option<RowMoments>,
    /// Steps taken: what Adam's bias correction counts.
    updates: u64,
}

impl Optimizer {
    /// An optimiser without history.
    pub fn new(recipe: &OptimizerRecipe, schedule: Schedule, groups: Groups) -> Self {
        Self { recipe: recipe.clone(), schedule, groups, moments: BTreeMap::new(), table: None, updates: 0 }
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

    /// Drops the gradients of frozen parameters and measures the rest: ‖g‖₂.
    ///
    /// # Errors
    /// [`OptimError::NotFinite`]: this gradient must not be used.
    pub fn gradient_norm(&self, gradients: &mut ModelGradients) -> Result<f64, OptimError> {
        gradients.dense.retain(|name, _| !self.groups.is_frozen(name));
        if self.groups.is_frozen(TOKEN_TABLE) {
            gradients.tokens = RowGradients::default();
        }
        global_norm(gradients)
    }

    /// Moves the model against `gradients`, whose norm [`gradient_norm`](Self::gradient_norm) gave. `step` counts from 0 and picks the
    /// schedule's value. Parameters without a gradient stay as they are.
    pub fn step(&mut self, model: &mut Siglip, mut gradients: ModelGradients, gradient_norm: f64, step: u64) {
        let clip = if gradient_norm < self.recipe.clip_norm { 1.0 } else { self.recipe.clip_norm / gradient_norm };
        self.updates += 1;
        map_flat(model, |name, parameter| {
            let update = self.update_of(name, clip, step);
            if let Some(gradient) = gradients.dense.remove(name) {
                let moments = self.moments.entry(name.to_owned()).or_insert_with(|| Moments::zeros(&gradient, self.recipe.first_moment));
                return moments.step(parameter, gradient, &update);
            }
            let tokens = &gradients.tokens;
            if name != TOKEN_TABLE || tokens.ids.is_empty() {
                return parameter;
            }
            let width = tokens.values.len() / tokens.ids.len();
            let table = self.table.get_or_insert_with(|| RowMoments::zeros(parameter.dims()[0], width));
            table.step(parameter, tokens, &update)
        });
    }

    /// Moves the token-table rows that a batch is about to read to where dense Adam would have them; `step` is the one that comes.
    pub fn settle(&mut self, model: &mut Siglip, rows: impl Iterator<Item = u32>, step: u64) {
        let Some(table) = &mut self.table else { return };
        let rate = self.recipe.learning_rate * self.groups.get(TOKEN_TABLE).multiplier;
        // Steps that were skipped have a place in the schedule, but none among the updates.
        let skipped = step.saturating_sub(self.updates);
        let rate = |update: u64| rate * self.schedule.at(update - 1 + skipped);
        let coasting = Coasting { adam: self.recipe.adam(), updates: self.updates, rate: &rate };
        let mut rows = Some(rows);
        map_flat(model, |name, parameter| match rows.take_if(|_| name == TOKEN_TABLE) {
            Some(rows) => table.settle(parameter, rows, &coasting),
            None => parameter,
        });
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
        if let Some(table) = &self.table {
            state.insert(format!("first/{TOKEN_TABLE}"), StateValues::F32(table.first().to_vec()));
            state.insert(format!("second/{TOKEN_TABLE}"), StateValues::F32(table.second().to_vec()));
            state.insert(format!("touched/{TOKEN_TABLE}"), StateValues::I32(table.touched().to_vec()));
        }
        Ok(state)
    }

    /// Takes over a state that [`state`](Self::state) gave, `updates` steps old.
    ///
    /// # Errors
    /// [`OptimError::State`]: an array is missing or of the wrong length.
    pub fn load(&mut self, updates: u64, mut state: BTreeMap<String, StateValues>, device: &Device) -> Result<(), OptimError> {
        (self.moments, self.table) = (BTreeMap::new(), None);
        let names: Vec<_> = state.keys().filter_map(|key| key.strip_prefix("first/").map(str::to_owned)).collect();
        for name in names {
            let (first, second) = (take_f32(&mut state, "first", &name)?, take_f32(&mut state, "second", &name)?);
            match state.remove(&format!("touched/{name}")) {
                Some(StateValues::I32(touched)) => self.table = Some(RowMoments::from_values(first, second, touched)?),
                _ => drop(self.moments.insert(name, Moments::from_values(first, second, self.recipe.first_moment, device)?)),
            }
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
