//! `train`: a recipe carried out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use burn::tensor::Device;
use polyglance::config::ModelConfig;
use polyglance::image::Resampling;
use polyglance::platform::{block_on, threads};
use polyglance::text::{TextOptions, Tokenizer};
use polyglance::weights::{Checkpoint, expected_tensors};
use polyglance_trainer::checkpoint::{Found, Store, TrainingState};
use polyglance_trainer::data::{DataOptions, DataPosition, HttpOptions, Loader};
use polyglance_trainer::metrics::Metrics;
use polyglance_trainer::model::Siglip;
use polyglance_trainer::optim::{Groups, Optimizer};
use polyglance_trainer::recipe::{DeviceKind, Plan, Recipe, SpeedSource};
use polyglance_trainer::train::{
    Ending, Judge, StepPlan, Trainer, checkpoint_folder, compare_with_flex, open_device, probe_speed, set_logit_bias,
};

use super::read_classes;

/// Trains a model as a recipe says.
///
/// Everything goes into the output folder: checkpoints/step-N with the model as a Hugging Face folder, metrics.jsonl, and event files for
/// TensorBoard. Ctrl-C saves and ends; --resume goes on from there, or from the last checkpoint after a crash, as if nothing had happened.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    polyglance-trainer train trainer/recipes/demo.toml --output run\n  \
    polyglance-trainer train trainer/recipes/demo.toml --output run --resume\n  \
    polyglance-trainer train trainer/recipes/finetune.toml --init model --set schedule.steps=200 --output run --dry-run")]
pub(crate) struct Arguments {
    /// Recipe, a TOML file.
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Another value for a key of the recipe, such as optimizer.learning_rate=1e-4. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Checkpoint folder to start from, whatever the recipe starts from.
    #[arg(long, value_name = "DIR")]
    init: Option<PathBuf>,
    /// Go on from the newest checkpoint in the output folder, if there is one.
    #[arg(long)]
    resume: bool,
    /// Print what the run would cost and end.
    #[arg(long)]
    dry_run: bool,
    /// Speed that --dry-run computes with [default: a short measurement].
    #[arg(long, value_name = "GFLOP/S")]
    speed: Option<f64>,
    /// Folder for checkpoints and reports.
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// Waits inside of every save, for tests of interruption.
    #[arg(long, hide = true, default_value_t = 0)]
    pause_in_save_ms: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let recipe = Recipe::load(&arguments.recipe, &arguments.overrides, arguments.init.as_deref())?;
    let start = recipe.model.init.as_deref().map(|folder| block_on(Checkpoint::open(folder))).transpose()?;
    let config = start.as_ref().map(|start| *start.config()).or_else(|| recipe.model.config()).context("the recipe describes no model")?;
    let names: Vec<_> = expected_tensors(&config).into_iter().map(|spec| spec.name).collect();
    let groups = Groups::new(&recipe.optimizer, names.iter().map(String::as_str)).map_err(anyhow::Error::msg)?;
    if arguments.dry_run {
        let device = open_device(recipe.device.kind)?.autodiff();
        let (speed, source) = match arguments.speed {
            Some(gflops) => (gflops * 1e9, SpeedSource::Stated),
            None => (probe_speed(&recipe, &config, &device)?, SpeedSource::Measured),
        };
        println!("{}", Plan::new(&recipe, &config, &groups, speed, source));
        return Ok(());
    }
    let output = arguments.output.as_deref().context("--output is missing")?;
    let pause = Duration::from_millis(arguments.pause_in_save_ms);
    Session { recipe: &recipe, config, start, groups, output, pause }.run(arguments.resume)
}

/// A run before its loop begins.
struct Session<'a> {
    recipe: &'a Recipe,
    config: ModelConfig,
    /// The checkpoint that the weights come from.
    start: Option<Checkpoint>,
    groups: Groups,
    output: &'a Path,
    pause: Duration,
}

impl Session<'_> {
    fn run(self, resume: bool) -> anyhow::Result<()> {
        let Self { recipe, output, .. } = self;
        let stop = stop_on_signal()?;
        let found = self.checkpoint(resume)?;
        let (tokenizer, companions) = self.tokenizer()?;
        let model = self.model(found.is_some())?;
        if !recipe.device.products.fits(&model.device()) {
            bail!("this device has no {:?}; use --set device.products=f32", recipe.device.products);
        }
        if !recipe.optimizer.first_moment.fits(&model.device()) {
            bail!("this device cannot store bf16; use --set optimizer.first_moment=f32");
        }
        if recipe.device.gate && recipe.device.kind != DeviceKind::Flex {
            eprintln!("comparing the gradients of a tiny batch with the CPU's (device.gate=false skips this)");
            compare_with_flex(&model, &StepPlan::new(recipe, &self.groups))?;
        }
        let optimizer = Optimizer::new(&recipe.optimizer, recipe.schedule, self.groups.clone());
        let store = Store::new(&checkpoint_folder(output)).with_pause(self.pause);
        let mut trainer = Trainer::new(recipe, model, optimizer, store, Some(companions));
        if let Some(found) = &found {
            trainer.resume(found)?;
            eprintln!("resuming after step {} of {}", trainer.step(), recipe.schedule.steps);
        }
        if let Some(judge) = self.judge(&tokenizer)? {
            trainer = trainer.with_judge(judge);
        }
        std::fs::create_dir_all(output).with_context(|| format!("cannot create the folder {}", output.display()))?;
        let mut metrics = Metrics::open(output, trainer.step(), recipe.schedule.steps)?;
        let mut loader = self.loader(tokenizer, trainer.position())?;
        match trainer.run(&mut loader, &mut metrics, &stop)? {
            Ending::Complete(folder) => println!("{}", folder.join("model").display()),
            Ending::Stopped(folder) => eprintln!("stopped; {} is saved, and --resume goes on from it", folder.display()),
        }
        Ok(())
    }

    /// The checkpoint to go on from.
    fn checkpoint(&self, resume: bool) -> anyhow::Result<Option<Found>> {
        let folder = checkpoint_folder(self.output);
        let (found, warnings) = Store::new(&folder).newest()?;
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        let Some(found) = found else { return Ok(None) };
        if !resume {
            bail!("{} holds checkpoints; go on with --resume, or choose another --output", folder.display());
        }
        let state = TrainingState::read(&found.folder)?;
        let before = Recipe::parse(&found.folder.join("state.json").display().to_string(), &state.recipe, &[], None)?;
        let differences = before.differences(self.recipe);
        if !differences.is_empty() && !self.recipe.checkpoint.allow_changes {
            let list = differences.join("\n  ");
            bail!(
                "the recipe is not that of {}:\n  {list}\nrestore it, or add --set checkpoint.allow_changes=true",
                found.folder.display()
            );
        }
        Ok(Some(found))
    }

    /// The tokenizer, and the folder with its files.
    fn tokenizer(&self) -> anyhow::Result<(Arc<Tokenizer>, PathBuf)> {
        let beside = self.recipe.model.init.as_ref().map(|folder| folder.join("tokenizer.json"));
        let file = self.recipe.data.tokenizer.clone().or(beside).context("data.tokenizer is missing: a model without weights has none")?;
        let json = std::fs::read(&file).with_context(|| format!("cannot read {}; data.tokenizer names another", file.display()))?;
        let tokenizer =
            Tokenizer::from_json(&json, &self.config.text, TextOptions::default()).with_context(|| file.display().to_string())?;
        Ok((Arc::new(tokenizer), file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)))
    }

    /// The model at its start. A resumed one gets its weights later.
    fn model(&self, resumed: bool) -> anyhow::Result<Siglip> {
        let device: Device = open_device(self.recipe.device.kind)?.autodiff();
        let mut model = match &self.start {
            Some(start) if !resumed => Siglip::load(start, &device)?,
            _ => Siglip::init(&self.config, self.recipe.seed, &device)?,
        };
        if let Some(bias) = self.recipe.model.logit_bias {
            set_logit_bias(&mut model, bias);
        }
        Ok(model)
    }

    fn judge(&self, tokenizer: &Arc<Tokenizer>) -> anyhow::Result<Option<Judge>> {
        let evaluation = &self.recipe.evaluation;
        let (Some(pattern), true) = (&evaluation.shards, evaluation.every > 0) else { return Ok(None) };
        let classes = evaluation.classes.as_deref().map(|file| read_classes(file, evaluation.templates.as_deref())).transpose()?;
        Ok(Some(Judge::new(pattern, evaluation.pairs, classes.as_ref(), Arc::clone(tokenizer), self.recipe.seed)?))
    }

    fn loader(&self, tokenizer: Arc<Tokenizer>, position: Option<&DataPosition>) -> anyhow::Result<Loader> {
        let (data, batch) = (&self.recipe.data, &self.recipe.batch);
        let options = DataOptions {
            seed: self.recipe.seed,
            sources: data.sources.clone(),
            languages: data.languages.clone(),
            captions: batch.captions,
            batch_size: batch.size(),
            budgets: batch.budgets.clone(),
            shuffle_examples: data.shuffle,
            resampling: Resampling::default(),
            threads: if data.workers == 0 { threads() } else { data.workers },
            batches_ahead: BATCHES_AHEAD,
            http: HttpOptions::default(),
        };
        Ok(Loader::open(&options, &self.config.vision, tokenizer, position)?)
    }
}

/// One batch in the step, two waiting.
const BATCHES_AHEAD: usize = 2;

/// A flag that Ctrl-C and SIGTERM set.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        eprintln!("stopping after this step");
    })?;
    Ok(stop)
}
