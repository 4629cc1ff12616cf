//! Runs: interrupted and whole, in pieces and at once, with bad numbers.

mod kills;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use polyglance::image::PatchBatch;
use polyglance::platform::block_on;
use polyglance::weights::{Checkpoint, expected_tensors};
use polyglance_trainer::checkpoint::Store;
use polyglance_trainer::data::{Batch, BatchSource, DataError, Loader};
use polyglance_trainer::metrics::Metrics;
use polyglance_trainer::model::Siglip;
use polyglance_trainer::optim::{Groups, Optimizer, visit_flat};
use polyglance_trainer::recipe::Recipe;
use polyglance_trainer::train::{
    Ending, StepPlan, TrainError, Trainer, batch_gradients, checkpoint_folder, compare_with_flex, set_logit_bias,
};

use crate::data::world;

/// The library's tiny NaFlex model.
fn start_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/fixtures/models/naflex")
}

fn recipe(overrides: &[&str]) -> Recipe {
    let text = format!(
        "[model]\ninit = {:?}\n[data]\nsources = [{{ pattern = \"-\" }}]\n[batch]\nimages = 4\nbudgets = [{{ max_num_patches = 6 }}]\n\
         [optimizer]\nlearning_rate = 1e-3\nema_decay = 0.9\n[schedule]\nsteps = 8\nwarmup = 2\n[checkpoint]\nevery = 3\n",
        start_folder()
    );
    let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Recipe::parse("test.toml", &text, &overrides, None).expect("the recipe is valid")
}

fn model() -> Siglip {
    let start = block_on(Checkpoint::open(&start_folder())).expect("the fixture opens");
    Siglip::load(&start, &Device::flex().autodiff()).expect("the fixture loads")
}

fn groups(recipe: &Recipe, model: &Siglip) -> Groups {
    let names: Vec<_> = expected_tensors(model.config()).into_iter().map(|spec| spec.name).collect();
    Groups::new(&recipe.optimizer, names.iter().map(String::as_str)).expect("all patterns match")
}

fn trainer<'a>(recipe: &'a Recipe, output: &Path) -> Trainer<'a> {
    let model = model();
    let optimizer = Optimizer::new(&recipe.optimizer, recipe.schedule, groups(recipe, &model));
    Trainer::new(recipe, model, optimizer, Store::new(&checkpoint_folder(output)), None)
}

/// A loader, some of whose batches are spoilt, and which stops the run after some batches.
struct Source<'a> {
    loader: Loader,
    spoilt: &'a [u64],
    stop_after: u64,
    stop: &'a AtomicBool,
}

impl BatchSource for Source<'_> {
    fn next(&mut self) -> Result<Batch, DataError> {
        let mut batch = self.loader.next()?;
        if self.spoilt.contains(&batch.position.batch) {
            let mut values = batch.images.values().to_vec();
            values.fill(f32::NAN);
            batch.images = repacked(&batch.images, &values);
        }
        self.stop.store(batch.position.batch >= self.stop_after, Ordering::Relaxed);
        Ok(batch)
    }
}

fn repacked(images: &PatchBatch, values: &[f32]) -> PatchBatch {
    let patch_dim = values.len() / images.tokens();
    let mut rest = values;
    let patches = images.grids().iter().map(|&grid| {
        let (values, after) = rest.split_at(grid.patches() * patch_dim);
        rest = after;
        polyglance::image::Patches { grid, values: values.to_vec() }
    });
    PatchBatch::pack(&patches.collect::<Vec<_>>())
}

/// Trains in `output` until the end or `stop_after` batches, from the newest checkpoint if there is one.
fn go(recipe: &Recipe, shards: &Path, output: &Path, stop_after: u64, spoilt: &[u64]) -> Result<(Ending, Vec<f32>), TrainError> {
    let mut trainer = trainer(recipe, output);
    if let Some(found) = Store::new(&checkpoint_folder(output)).newest()?.0 {
        trainer.resume(&found)?;
    }
    let (config, tokenizer) = world::model("naflex");
    let options = world::options(&[shards.to_str().expect("UTF-8")]);
    let loader = Loader::open(&options, &config.vision, tokenizer, trainer.position())?;
    let mut metrics = Metrics::open(output, trainer.step(), recipe.schedule.steps)?;
    let stop = AtomicBool::new(false);
    let ending = trainer.run(&mut Source { loader, spoilt, stop_after, stop: &stop }, &mut metrics, &stop)?;
    Ok((ending, flat(trainer.model())))
}

fn flat(model: &Siglip) -> Vec<f32> {
    let mut all = Vec::new();
    visit_flat(model, |_, values| all.extend(values.to_data().try_to_vec::<f32>().expect("f32")));
    all
}

fn shards() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    world::write_shards(folder.path(), 0, 2, 12);
    folder
}

fn lines(output: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).expect("it is read");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_stopped_and_resumed_run_has_the_bits_of_a_whole_one() {
    let (shards, whole, broken) = (shards(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let recipe = recipe(&[]);
    let (ending, expected) = go(&recipe, shards.path(), whole.path(), u64::MAX, &[]).expect("it trains");
    assert!(matches!(ending, Ending::Complete(folder) if folder.ends_with("checkpoints/step-8")));
    for stop_after in [1, 2, 5] {
        let (ending, _) = go(&recipe, shards.path(), broken.path(), stop_after, &[]).expect("it stops");
        assert!(matches!(ending, Ending::Stopped(_)), "{ending:?}");
    }
    let (_, found) = go(&recipe, shards.path(), broken.path(), u64::MAX, &[]).expect("it trains on");
    assert_eq!(found, expected);
    for file in ["model/model.safetensors", "ema/model.safetensors", "optimizer.safetensors"] {
        let read = |run: &Path| std::fs::read(run.join("checkpoints/step-8").join(file)).expect("it is there");
        assert!(read(whole.path()) == read(broken.path()), "{file} differs");
    }
    let losses = |run: &Path| lines(run).iter().map(|line| (line["step"].clone(), line["loss"].clone())).collect::<Vec<_>>();
    assert_eq!(losses(whole.path()), losses(broken.path()));
    assert_eq!(losses(whole.path()).len(), 8);
    let opened = block_on(Checkpoint::open(&whole.path().join("checkpoints/step-8/model")));
    assert!(opened.is_ok(), "the library refuses the model: {:?}", opened.err());
}

#[test]
fn training_lowers_the_loss() {
    let (shards, output) = (shards(), tempfile::tempdir().unwrap());
    let recipe = recipe(&["schedule.steps=40", "optimizer.learning_rate=3e-3", "checkpoint.every=40"]);
    go(&recipe, shards.path(), output.path(), u64::MAX, &[]).expect("it trains");
    let losses: Vec<_> = lines(output.path()).iter().filter_map(|line| line["loss"].as_f64()).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[30..]) < 0.8 * mean(&losses[..5]), "{losses:?}");
}

#[test]
fn numbers_that_are_not_finite_never_reach_the_parameters() {
    let (shards, clean, spoilt) = (shards(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let recipe = recipe(&["schedule.steps=4"]);
    // Batches are counted from 1 by the position after them. The third step is skipped: its data are used up, its step counts.
    let (_, parameters) = go(&recipe, shards.path(), spoilt.path(), u64::MAX, &[3]).expect("one bad batch is no reason to stop");
    assert!(parameters.iter().all(|value| value.is_finite()));
    let notes: Vec<_> = lines(spoilt.path()).iter().filter_map(|line| line["note"].as_str().map(str::to_owned)).collect();
    assert!(notes.len() == 1 && notes[0].contains("step 3 is skipped"), "{notes:?}");
    go(&recipe, shards.path(), clean.path(), u64::MAX, &[]).expect("it trains");
    assert_eq!(
        lines(clean.path())[..2].iter().map(|line| &line["loss"]).collect::<Vec<_>>(),
        lines(spoilt.path())[..2].iter().map(|line| &line["loss"]).collect::<Vec<_>>()
    );
}

#[test]
fn after_three_skipped_steps_the_run_goes_back_and_then_gives_up() {
    let (shards, output) = (shards(), tempfile::tempdir().unwrap());
    let recipe = recipe(&["schedule.steps=8"]);
    // The checkpoint of step 3 is the last before batches 4 to 7.
    let (_, parameters) = go(&recipe, shards.path(), output.path(), u64::MAX, &[4, 5, 6, 7]).expect("the data go on");
    assert!(parameters.iter().all(|value| value.is_finite()));
    let lines = lines(output.path());
    let note = lines.iter().find_map(|line| line["note"].as_str().filter(|note| note.contains("back to step"))).expect("it went back");
    assert!(note.contains("step 7") && note.contains("back to step 3"), "{note}");
    let other = tempfile::tempdir().unwrap();
    let ending = go(&recipe, shards.path(), other.path(), u64::MAX, &(1..100).collect::<Vec<_>>()).map(|(ending, _)| ending);
    assert!(matches!(ending, Err(TrainError::Diverged { step: 4, rollbacks: 3, .. })), "{ending:?}");
}

/// f32 sums in another order: 1e-5 of a gradient's size.
#[test]
fn gradients_in_pieces_are_those_of_the_whole_batch() {
    let shards = shards();
    let (config, tokenizer) = world::model("naflex");
    let mut loader = Loader::open(&world::options(&[shards.path().to_str().unwrap()]), &config.vision, tokenizer, None).unwrap();
    let batch = loader.next().unwrap();
    let mut model = model();
    // With the trained bias of −16.8 negatives hardly count in so small a batch.
    set_logit_bias(&mut model, 0.0);
    let gradients = |overrides: &[&str]| {
        let recipe = recipe(overrides);
        let plan = StepPlan::new(&recipe, &groups(&recipe, &model));
        let result = batch_gradients(&model, &batch.images, &batch.texts, &plan).expect("it computes");
        let mut flat: Vec<f32> = result.gradients.dense.values().flat_map(|values| values.to_data().try_to_vec::<f32>().unwrap()).collect();
        flat.extend(&result.gradients.tokens.values);
        (result.loss, flat)
    };
    let (loss, whole) = gradients(&[]);
    let size = whole.iter().map(|value| value * value).sum::<f32>().sqrt();
    for overrides in [
        vec!["batch.micro_batch=3"],
        vec!["batch.micro_batch=1", "losses.sigmoid_chunk=2"],
        vec!["batch.micro_batch=2", "model.recompute=true"],
    ] {
        let (other_loss, other) = gradients(&overrides);
        let difference = whole.iter().zip(&other).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!((loss - other_loss).abs() < 1e-5 * loss && difference < 1e-5 * size, "{overrides:?}: {difference} of {size}");
    }
    let (_, doubled) = gradients(&["losses.sigmoid=2.0"]);
    assert!(whole.iter().zip(&doubled).all(|(a, b)| (2.0 * a - b).abs() <= 1e-6 * size));
    // Without its negatives in other micro-batches the loss is another one.
    let (local_loss, _) = gradients(&["batch.micro_batch=2", "batch.contrast=micro_batch"]);
    assert!((loss - local_loss).abs() > 1e-3 * loss);
}

#[test]
fn accumulated_micro_batches_are_the_mean_of_their_losses() {
    let shards = shards();
    let (config, tokenizer) = world::model("naflex");
    let mut loader = Loader::open(&world::options(&[shards.path().to_str().unwrap()]), &config.vision, tokenizer, None).unwrap();
    let batch = loader.next().unwrap();
    let model = model();
    let recipe = recipe(&["batch.micro_batch=3", "batch.contrast=micro_batch"]);
    let plan = StepPlan::new(&recipe, &groups(&recipe, &model));
    let all = batch_gradients(&model, &batch.images, &batch.texts, &plan).expect("it computes");
    let patch_dim = batch.images.values().len() / batch.images.tokens();
    let part = |range: std::ops::Range<usize>| {
        let offsets = batch.images.offsets();
        let patches: Vec<_> = range
            .clone()
            .map(|i| polyglance::image::Patches {
                grid: batch.images.grids()[i],
                values: batch.images.values()[offsets[i] as usize * patch_dim..offsets[i + 1] as usize * patch_dim].to_vec(),
            })
            .collect();
        batch_gradients(&model, &PatchBatch::pack(&patches), &batch.texts[range], &plan).expect("it computes").loss
    };
    let expected = 0.75 * part(0..3) + 0.25 * part(3..4);
    assert!((all.loss - expected).abs() < 1e-6 * expected, "{} for {expected}", all.loss);
}

#[test]
fn a_locked_tower_does_not_move_and_gets_no_gradient() {
    let (shards, output) = (shards(), tempfile::tempdir().unwrap());
    let recipe = recipe(&["optimizer.multipliers=[[\"vision_model.*\", 0.0]]", "schedule.steps=3"]);
    go(&recipe, shards.path(), output.path(), u64::MAX, &[]).expect("it trains");
    let trained = block_on(Checkpoint::open(&output.path().join("checkpoints/step-3/model"))).expect("it opens");
    let before = block_on(Checkpoint::open(&start_folder())).expect("it opens");
    for (name, moves) in [("vision_model.head.mlp.fc1.weight", false), ("text_model.head.weight", true), ("logit_bias", true)] {
        let read = |checkpoint: &Checkpoint| block_on(checkpoint.read(name)).expect("it is read").into_owned();
        assert_eq!(read(&trained) != read(&before), moves, "{name}");
    }
}

#[test]
fn a_device_that_computes_what_flex_computes_passes_the_gate() {
    let recipe = recipe(&[]);
    let model = model();
    compare_with_flex(&model, &StepPlan::new(&recipe, &groups(&recipe, &model))).expect("flex is flex");
}
