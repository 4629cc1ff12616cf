//! A training step (forward, loss, backward) on the CPU beside torch's, on the same model and batch.
//!
//! ```text
//! cargo bench -p polyglance-trainer --bench step -- [PYTHON]
//! ```
//!
//! PYTHON is an interpreter with `peer.py`'s packages; without one only our own figures are printed. Both take turns, round by round, and
//! both print the loss, so that one sees that they compute the same.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use burn::tensor::Device;
use polyglance::config::{ModelConfig, PRESETS, TowerConfig};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::platform::{Stopwatch, threads};
use polyglance::text::Tokens;
use polyglance::weights::{OutputTensor, OutputValues, write_safetensors};
use polyglance_trainer::losses::{StepOptions, loss_and_gradients};
use polyglance_trainer::model::{Export, Siglip};
use polyglance_trainer::random::Stream;

const BATCH: usize = 64;
const ROUNDS: usize = 5;
const TOWER: TowerConfig = TowerConfig { width: 192, mlp_dim: 768, depth: 6, heads: 3, layer_norm_eps: 1e-6 };
const VOCABULARY: usize = 8192;
/// At most 100 patches each, as a NaFlex budget of 100 gives them.
const GRIDS: [(usize, usize); 6] = [(10, 10), (8, 12), (12, 8), (7, 14), (5, 20), (9, 11)];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // `cargo bench` adds the flag --bench.
    let python = std::env::args().skip(1).find(|argument| argument != "--bench");
    let model = Siglip::init(&config(), 0, &Device::flex().autodiff())?;
    let (images, texts) = batch(&model);
    println!("{} threads, {BATCH} pairs, {} patches, {} parameters", threads(), images.tokens(), model.config().parameters());
    let folder = tempfile::tempdir()?;
    model.save(folder.path(), &Export::default())?;
    write_batch(folder.path(), &images, &texts)?;
    let mut peer = python.map(|python| Peer::start(&python, folder.path())).transpose()?;
    for (name, options) in
        [("whole graph", StepOptions::default()), ("recomputed blocks", StepOptions { recompute_blocks: true, ..StepOptions::default() })]
    {
        let mut run = || -> Result<(f64, f32), Failure> {
            let watch = Stopwatch::start();
            let result = loss_and_gradients(&model, &images, &texts, options)?;
            Ok((watch.elapsed_secs(), result.loss))
        };
        compare(name, &mut run, peer.as_mut())?;
    }
    Ok(())
}

/// Prints medians of figures, and of ratios within a round: a machine's speed drifts, but little within a round.
fn compare(name: &str, run: &mut dyn FnMut() -> Result<(f64, f32), Failure>, mut peer: Option<&mut Peer>) -> Result<(), Failure> {
    run()?;
    let (mut ours, mut theirs, mut ratios, mut losses) = (Vec::new(), Vec::new(), Vec::new(), (0.0, 0.0));
    for _ in 0..ROUNDS {
        let (secs, loss) = run()?;
        ours.push(BATCH as f64 / secs);
        losses.0 = loss;
        if let Some(peer) = peer.as_deref_mut() {
            let (peer_secs, peer_loss) = peer.run()?;
            theirs.push(BATCH as f64 / peer_secs);
            ratios.push(peer_secs / secs);
            losses.1 = peer_loss;
        }
    }
    println!("{name:18} polyglance {:6.1} images/s, loss {:.5}", median(&mut ours), losses.0);
    if peer.is_some() {
        let ratio = median(&mut ratios);
        println!("{name:18} torch      {:6.1} images/s, loss {:.5}: ours is {ratio:.2} of its speed", median(&mut theirs), losses.1);
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The base NaFlex model, with small towers and vocabulary.
fn config() -> ModelConfig {
    let mut config = PRESETS[15].config;
    (config.vision.tower, config.text.tower) = (TOWER, TOWER);
    (config.text.projection_dim, config.text.vocab_size) = (TOWER.width, VOCABULARY);
    config
}

fn batch(model: &Siglip) -> (PatchBatch, Vec<Tokens>) {
    let patch_dim = model.config().vision.patch_dim();
    let patches = (0..BATCH).map(|i| {
        let (rows, cols) = GRIDS[i % GRIDS.len()];
        let stream = Stream::new(i as u64, "patches");
        Patches { grid: Grid { rows, cols }, values: (0..rows * cols * patch_dim).map(|j| 2.0 * stream.uniform(j as u64) - 1.0).collect() }
    });
    let texts = (0..BATCH).map(|i| {
        let stream = Stream::new(i as u64, "texts");
        let ids = (0..64).map(|j| if j < 12 { (stream.uniform(j) * VOCABULARY as f32) as u32 } else { 0 });
        Tokens { ids: ids.collect(), truncated: false }
    });
    (PatchBatch::pack(&patches.collect::<Vec<_>>()), texts.collect())
}

fn write_batch(folder: &Path, images: &PatchBatch, texts: &[Tokens]) -> Result<(), Failure> {
    let grids: Vec<i32> = images.grids().iter().flat_map(|grid| [grid.rows as i32, grid.cols as i32]).collect();
    let ids: Vec<i32> = texts.iter().flat_map(|text| text.ids.iter().map(|&id| id as i32)).collect();
    let patches = vec![images.tokens(), images.values().len() / images.tokens()];
    let outputs = [
        OutputTensor { name: "patches".into(), shape: patches, values: OutputValues::F32(images.values()) },
        OutputTensor { name: "grids".into(), shape: vec![images.len(), 2], values: OutputValues::I32(&grids) },
        OutputTensor { name: "input_ids".into(), shape: vec![texts.len(), 64], values: OutputValues::I32(&ids) },
    ];
    Ok(write_safetensors(&folder.join("batch.safetensors"), &outputs, &BTreeMap::new())?)
}

/// The running script.
struct Peer {
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(python: &str, folder: &Path) -> Result<Self, Failure> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer.py");
        let mut process = Command::new(python)
            .arg(script)
            .args([folder.as_os_str(), threads().to_string().as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(requests), Some(output)) = (process.stdin.take(), process.stdout.take()) else { return Err("no pipes".into()) };
        let mut peer = Self { _process: process, requests, answers: BufReader::new(output).lines() };
        while peer.answer()? != "ready" {}
        Ok(peer)
    }

    /// Seconds and loss of a step.
    fn run(&mut self) -> Result<(f64, f32), Failure> {
        writeln!(self.requests, "step")?;
        let answer = self.answer()?;
        let (secs, loss) = answer.split_once(' ').ok_or("benches/peer.py answers with seconds and loss")?;
        Ok((secs.parse()?, loss.parse()?))
    }

    fn answer(&mut self) -> Result<String, Failure> {
        Ok(self.answers.next().ok_or("benches/peer.py ended; run it by hand to see why")??)
    }
}
