//! Whole towers on the CPU beside onnxruntime and torch, in one run.
//!
//! ```text
//! cargo run --release -p polyglance-trainer -- init --preset google/siglip2-base-patch16-naflex --output /tmp/b16
//! cargo bench --bench encoder -- /tmp/b16 [PYTHON]
//! ```
//!
//! PYTHON is an interpreter with `benches/peer.py`'s packages; without one only our own figures are printed. Medians of several runs.

use std::process::Command;
use std::sync::Arc;

use polyglance::config::ModelConfig;
use polyglance::cpu::CpuBackend;
use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, ImageOutputs, Precision, TextTower, VisionTower};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::kernels::gemm::PackedMatrix;
use polyglance::kernels::{Counts, Epilogue, Gemm, Rows};
use polyglance::platform::{Stopwatch, block_on, threads};
use polyglance::text::Tokens;
use polyglance::weights::Checkpoint;

const GRID: Grid = Grid { rows: 16, cols: 16 };
const IMAGES: usize = 4;
const PROMPTS: usize = 64;
const RUNS: usize = 7;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // `cargo bench` adds the flag --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(model) = arguments.first() else {
        println!("give a model folder: cargo bench --bench encoder -- MODEL_DIR [PYTHON]");
        return Ok(());
    };
    let peak = peak_gflops();
    println!("{}; one large gemm reaches {peak:.0} GFLOP/s", CpuBackend::description());
    let checkpoint = Arc::new(block_on(Checkpoint::open(model.as_ref()))?);
    let config = *checkpoint.config();
    let options = EncoderOptions { device: DeviceChoice::Cpu, precision: Precision::F32 };
    let mut encoder = block_on(Encoder::new(checkpoint, options))?;
    let ours = [("image", images_per_second(&mut encoder)?), ("text", prompts_per_second(&mut encoder)?)];
    for (task, figure) in ours {
        let gflops = figure * flops(&config, task) / 1e9;
        println!("{task:5} polyglance f32   {figure:8.2}/s  {gflops:4.0} GFLOP/s, {:.0} % of the peak", 100.0 * gflops / peak);
    }
    println!("a batch of mixed budgets wins {:.2} of the share that padding would cost", padding_won(&mut encoder)?);
    match arguments.get(1) {
        Some(python) => print_peers(python, model, &ours),
        None => Ok(()),
    }
}

/// Median images per second in batches.
fn images_per_second(encoder: &mut Encoder) -> Result<f64, Failure> {
    Ok(IMAGES as f64 / batch_secs(encoder, &[GRID; IMAGES])?)
}

/// Median seconds of a batch of images with these grids.
fn batch_secs(encoder: &mut Encoder, grids: &[Grid]) -> Result<f64, Failure> {
    let patch_dim = encoder.config().vision.patch_dim();
    let values = |grid: Grid| (0..grid.patches() * patch_dim).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let patches: Vec<Patches> = grids.iter().map(|&grid| Patches { grid, values: values(grid) }).collect();
    let batch = PatchBatch::pack(&patches);
    median_secs(|| Ok(block_on(encoder.encode_images(&batch, ImageOutputs::default())).map(|_| ())?))
}

/// The time saved by packing budgets of 64 to 1,024 instead of padding all to 1,024, over the share of padding among the padded tokens.
fn padding_won(encoder: &mut Encoder) -> Result<f64, Failure> {
    let grids = [(8, 8), (8, 16), (16, 16), (24, 24), (32, 32)].map(|(rows, cols)| Grid { rows, cols });
    let tokens: usize = grids.iter().map(|grid| grid.patches()).sum();
    let padding = 1.0 - tokens as f64 / (5.0 * 1024.0);
    let (mixed, padded) = (batch_secs(encoder, &grids)?, batch_secs(encoder, &[grids[4]; 5])?);
    Ok((1.0 - mixed / padded) / padding)
}

/// Median prompts per second in one batch.
fn prompts_per_second(encoder: &mut Encoder) -> Result<f64, Failure> {
    let config = encoder.config().text;
    let prompt = |p: usize| Tokens {
        ids: (0..config.positions).map(|i| ((p * 64 + i) * 7919 % config.vocab_size) as u32).collect(),
        truncated: false,
    };
    let prompts: Vec<Tokens> = (0..PROMPTS).map(prompt).collect();
    Ok(PROMPTS as f64 / median_secs(|| Ok(block_on(encoder.encode_texts(&prompts)).map(|_| ())?))?)
}

/// Floating-point operations of one image or prompt.
fn flops(config: &ModelConfig, task: &str) -> f64 {
    let one = |tokens| Counts { tokens, segments: 1 };
    match task {
        "image" => VisionTower::new(&config.vision).plan(one(GRID.patches()), None).flops(&[GRID.patches()]) as f64,
        _ => TextTower::new(&config.text).plan(one(config.text.positions)).flops(&[config.text.positions]) as f64,
    }
}

/// The best rate of a large matrix product: what the machine can do at all.
fn peak_gflops() -> f64 {
    let shape = Gemm { rows: Rows::Tokens, n: 3072, k: 3072, epilogue: Epilogue::Store };
    let rows = 1024;
    let (x, weight) = (vec![0.5; rows * shape.k], PackedMatrix::new(&vec![0.25; shape.n * shape.k], shape.k));
    let (bias, mut y, mut scratch) = (vec![0.0; shape.n], vec![0.0; rows * shape.n], Vec::new());
    let best = (0..RUNS).map(|_| {
        let watch = Stopwatch::start();
        shape.run(&x, &weight, &bias, &mut y, &mut scratch);
        watch.elapsed_secs()
    });
    2.0 * (rows * shape.n * shape.k) as f64 / best.fold(f64::INFINITY, f64::min) / 1e9
}

fn median_secs(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    run()?;
    let mut seconds = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let watch = Stopwatch::start();
        run()?;
        seconds.push(watch.elapsed_secs());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[RUNS / 2])
}

/// Runs the peers and prints how many times as fast we are.
fn print_peers(python: &str, model: &str, ours: &[(&str, f64)]) -> Result<(), Failure> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer.py");
    let output = Command::new(python).args([script, model, &threads().to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with('{')) {
        let peer: serde_json::Value = serde_json::from_str(line)?;
        let (task, theirs) = (peer["task"].as_str().unwrap_or_default(), peer["per_second"].as_f64().unwrap_or(f64::NAN));
        let name = peer["peer"].as_str().unwrap_or_default();
        let ratio = ours.iter().find(|(ours, _)| *ours == task).map_or(f64::NAN, |(_, figure)| figure / theirs);
        println!("{task:5} {name:16} {theirs:8.2}/s  polyglance is {ratio:.2}× as fast");
    }
    Ok(())
}
