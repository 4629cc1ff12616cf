//! The loop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use polyglance::platform::Stopwatch;
use sha2::{Digest, Sha256};

use super::TrainError;
use super::exam::Judge;
use super::guard::{Guard, Verdict};
use super::step::{StepPlan, batch_gradients};
use super::store::{Resumed, fill};
use crate::checkpoint::{CheckpointError, Found, Store, TrainingState};
use crate::data::{Batch, BatchSource, DataPosition};
use crate::metrics::{Metrics, StepRecord};
use crate::model::{ModelError, Siglip, to_host};
use crate::optim::{Ema, OptimError, Optimizer};
use crate::recipe::Recipe;

/// How a run ended, with its last checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Complete(PathBuf),
    /// It was told to stop, and saved.
    Stopped(PathBuf),
}

/// A run: a model on its way.
pub struct Trainer<'a> {
    recipe: &'a Recipe,
    plan: StepPlan,
    model: Siglip,
    optimizer: Optimizer,
    ema: Option<Ema>,
    store: Store,
    judge: Option<Judge>,
    companions: Option<PathBuf>,
    guard: Guard,
    step: u64,
    examples: u64,
    position: Option<DataPosition>,
    /// Of an evaluation at this very step.
    score: Option<f64>,
}

/// What a step came to.
enum Outcome {
    Moved(StepRecord),
    Failed(String),
}

impl<'a> Trainer<'a> {
    /// A run at its start. `companions` is a folder with the tokenizer's files, which go into every checkpoint.
    pub fn new(recipe: &'a Recipe, model: Siglip, optimizer: Optimizer, store: Store, companions: Option<PathBuf>) -> Self {
        Self {
            plan: StepPlan::new(recipe, optimizer.groups()),
            ema: (recipe.optimizer.ema_decay > 0.0).then(|| Ema::new(recipe.optimizer.ema_decay, &model)),
            model,
            recipe,
            optimizer,
            store,
            judge: None,
            companions,
            guard: Guard::default(),
            step: 0,
            examples: 0,
            position: None,
            score: None,
        }
    }

    /// Evaluates with `judge` as often as the recipe says.
    #[must_use]
    pub fn with_judge(self, judge: Judge) -> Self {
        Self { judge: Some(judge), ..self }
    }

    /// Goes on from a checkpoint, data position included.
    ///
    /// # Errors
    /// It cannot be read or does not fit the recipe.
    pub fn resume(&mut self, found: &Found) -> Result<(), TrainError> {
        let state = self.restore(found)?;
        self.guard = Guard::resumed(state.skipped_in_row);
        let unreadable = |error: serde_json::Error| CheckpointError::Content { path: found.folder.clone(), reason: error.to_string() };
        self.position = serde_json::from_value(state.position).map_err(unreadable)?;
        Ok(())
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Where the data go on; nothing at the beginning.
    pub fn position(&self) -> Option<&DataPosition> {
        self.position.as_ref()
    }

    /// The model as it is now.
    pub fn model(&self) -> &Siglip {
        &self.model
    }

    /// Trains until the recipe's last step, or until `stop` is set: then the run saves and ends between two steps.
    ///
    /// # Errors
    /// No data, a full disk, a device that fails, or numbers that stay infinite.
    pub fn run(&mut self, source: &mut dyn BatchSource, metrics: &mut Metrics, stop: &AtomicBool) -> Result<Ending, TrainError> {
        // At the beginning: a place to go back to, and proof that the disk takes a checkpoint.
        let mut saved = if self.step == 0 { Some(self.save()?) } else { None };
        while self.step < self.recipe.schedule.steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(Ending::Stopped(self.save()?));
            }
            let batch = source.next()?;
            saved = None;
            match self.take(&batch)? {
                Outcome::Moved(record) => {
                    metrics.step(&record)?;
                    self.evaluate(metrics)?;
                    saved = if self.is_due(self.recipe.checkpoint.every) { Some(self.save()?) } else { None };
                }
                // A run in trouble keeps the checkpoint from before it.
                Outcome::Failed(reason) => self.fail(&reason, metrics)?,
            }
        }
        Ok(Ending::Complete(saved.map_or_else(|| self.save(), Ok)?))
    }

    /// One step on one batch.
    fn take(&mut self, batch: &Batch) -> Result<Outcome, TrainError> {
        let watch = Stopwatch::start();
        let tokens = batch.texts.iter().flat_map(|text| text.ids.iter().copied());
        self.optimizer.settle(&mut self.model, tokens, self.step);
        let result = batch_gradients(&self.model, &batch.images, &batch.texts, &self.plan)?;
        let (loss, mut gradients) = (f64::from(result.loss), result.gradients);
        let norm = match self.optimizer.gradient_norm(&mut gradients) {
            Err(error @ OptimError::NotFinite(_)) => Err(error.to_string()),
            Ok(_) if !loss.is_finite() => Err("the loss is not finite".to_owned()),
            other => Ok(other?),
        };
        let learning_rate = self.optimizer.learning_rate(self.step);
        self.position = Some(batch.position.clone());
        self.examples += batch.images.len() as u64;
        self.step += 1;
        let gradient_norm = match norm {
            Ok(norm) => norm,
            Err(reason) => return Ok(Outcome::Failed(reason)),
        };
        self.optimizer.step(&mut self.model, gradients, gradient_norm, self.step - 1);
        if let Some(ema) = &mut self.ema {
            ema.follow(&self.model);
        }
        self.guard.passed();
        Ok(Outcome::Moved(StepRecord {
            step: self.step,
            loss,
            learning_rate,
            gradient_norm,
            temperature: scalar(&self.model.logit_scale)?.exp(),
            logit_bias: scalar(&self.model.logit_bias)?,
            max_num_patches: batch.max_num_patches,
            tokens: batch.images.tokens(),
            examples: self.examples,
            images_per_sec: batch.images.len() as f64 / watch.elapsed_secs(),
        }))
    }

    /// Skips a step, or goes back. Data never go back: the same batches would fail again.
    fn fail(&mut self, reason: &str, metrics: &mut Metrics) -> Result<(), TrainError> {
        let (step, examples) = (self.step, self.examples);
        let diverged = |rollbacks| TrainError::Diverged { step, reason: reason.to_owned(), rollbacks };
        match self.guard.failed() {
            Verdict::Skip => Ok(metrics.note(step, &format!("step {step} is skipped: {reason}"))?),
            Verdict::GiveUp { rollbacks } => Err(diverged(rollbacks)),
            Verdict::RollBack => {
                let found = self.store.newest()?.0.ok_or_else(|| diverged(0))?;
                self.restore(&found)?;
                self.examples = examples;
                metrics.rewind(self.step)?;
                Ok(metrics.note(self.step, &format!("step {step} failed like those before it ({reason}): back to step {}", found.step))?)
            }
        }
    }

    fn is_due(&self, every: u64) -> bool {
        every > 0 && (self.step.is_multiple_of(every) || self.step == self.recipe.schedule.steps)
    }

    /// Judges the average, if one is kept: it is what will be used.
    fn evaluate(&mut self, metrics: &mut Metrics) -> Result<(), TrainError> {
        self.score = None;
        if let (true, Some(judge)) = (self.is_due(self.recipe.evaluation.every), &self.judge) {
            let averaged = self.ema.as_ref().map(|ema| ema.averaged(&self.model));
            let (results, mean) = judge.judge(averaged.as_ref().unwrap_or(&self.model))?;
            metrics.evaluation(self.step, &results)?;
            self.score = Some(mean);
        }
        Ok(())
    }

    fn save(&mut self) -> Result<PathBuf, TrainError> {
        let recipe = self.recipe.to_toml();
        let state = TrainingState {
            step: self.step,
            updates: self.optimizer.updates(),
            examples: self.examples,
            skipped_in_row: self.guard.skipped(),
            position: serde_json::to_value(&self.position).unwrap_or_default(),
            recipe_sha256: Sha256::digest(recipe.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
            recipe,
        };
        let companions = self.companions.as_deref();
        let write = |folder: &Path| fill(folder, &self.model, self.ema.as_ref(), &self.optimizer, &state, companions);
        let folder = self.store.save(self.step, self.score, write)?;
        self.guard.saved();
        Ok(folder)
    }

    /// Takes model, average, optimiser and counters from a checkpoint.
    fn restore(&mut self, found: &Found) -> Result<TrainingState, TrainError> {
        let device: Device = self.model.device();
        let Resumed { model, average, state } = Resumed::read(found, &mut self.optimizer, &device)?;
        if let (Some(ema), Some(average)) = (&mut self.ema, &average) {
            ema.load(average);
        }
        self.model = model;
        (self.step, self.examples) = (state.step, state.examples);
        Ok(state)
    }
}

fn scalar(parameter: &burn::module::Param<burn::tensor::Tensor<1>>) -> Result<f64, ModelError> {
    let values = to_host(parameter.val().without_autodiff())?;
    Ok(values.first().map_or(f64::NAN, |value| f64::from(*value)))
}
