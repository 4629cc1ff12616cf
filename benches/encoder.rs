//! Whole towers on the CPU beside onnxruntime and torch, in one run.
//!
//! ```text
//! cargo run --release -p polyglance-trainer -- init --preset google/siglip2-base-patch16-naflex --output /tmp/b16
//! cargo bench --bench encoder -- /tmp/b16 [PYTHON]
//! ```
//!
//! PYTHON is an interpreter with `benches/peers/encoder.py`'s packages; without one only our own figures are printed. All take turns, round by round.

mod peers;

use std::sync::Arc;

use polyglance::cpu::CpuBackend;
use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, ImageOutputs, Precision, TextTower, VisionTower};
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::kernels::gemm::PackedMatrix;
use polyglance::kernels::{Counts, Epilogue, Gemm, Rows};
use polyglance::platform::{Stopwatch, block_on};
use polyglance::text::Tokens;
use polyglance::weights::Checkpoint;

use self::peers::{Failure, Peers, median};

const GRID: Grid = Grid { rows: 16, cols: 16 };
const IMAGES: usize = 4;
const PROMPTS: usize = 64;
const RUNS: usize = 7;

fn main() -> Result<(), Failure> {
    // `cargo bench` adds the flag --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(model) = arguments.first() else {
        println!("give a model folder: cargo bench --bench encoder -- MODEL_DIR [PYTHON]");
        return Ok(());
    };
    println!("{}", CpuBackend::description());
    let checkpoint = Arc::new(block_on(Checkpoint::open(model.as_ref()))?);
    let options = EncoderOptions { device: DeviceChoice::Cpu, precision: Precision::F32 };
    let mut ours = Ours { encoder: block_on(Encoder::new(checkpoint, options))? };
    let mut peers = arguments.get(1).map(|python| Peers::start(python, "encoder.py", model.as_ref())).transpose()?;
    for task in [Task::Image, Task::Text] {
        compare(&mut ours, peers.as_mut(), task)?;
    }
    println!("a batch of mixed budgets wins {:.2} of the share that padding would cost", ours.padding_won()?);
    Ok(())
}

/// What is timed.
#[derive(Clone, Copy)]
enum Task {
    Image,
    Text,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }

    /// Images or prompts of one run.
    const fn items(self) -> usize {
        match self {
            Self::Image => IMAGES,
            Self::Text => PROMPTS,
        }
    }
}

/// Times ourselves, the machine's peak and the peers in turn, and prints medians of figures and of ratios within a round: a machine's
/// speed drifts, but little within a round.
fn compare(ours: &mut Ours, mut peers: Option<&mut Peers>, task: Task) -> Result<(), Failure> {
    ours.run_secs(task)?;
    let (mut figures, mut shares, mut ratios) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    let mut theirs = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        let secs = ours.run_secs(task)?;
        figures.push(task.items() as f64 / secs);
        shares.push(task.items() as f64 * ours.flops(task) / secs / 1e9 / peak_gflops());
        if let Some(peers) = peers.as_deref_mut() {
            for (index, peer) in PEERS.iter().enumerate() {
                let peer_secs = peers.run_secs(&format!("{peer} {}", task.name()))?;
                theirs[index].push(task.items() as f64 / peer_secs);
                ratios[index].push(peer_secs / secs);
            }
        }
    }
    let gflops = median(&mut figures) * ours.flops(task) / 1e9;
    let share = 100.0 * median(&mut shares);
    println!(
        "{:5} polyglance f32   {:8.2}/s  {gflops:4.0} GFLOP/s, {share:.0} % of a large gemm's rate",
        task.name(),
        median(&mut figures)
    );
    if peers.is_some() {
        for ((peer, figures), ratios) in PEERS.iter().zip(&mut theirs).zip(&mut ratios) {
            println!("{:5} {peer:11} f32  {:8.2}/s  polyglance is {:.2}× as fast", task.name(), median(figures), median(ratios));
        }
    }
    Ok(())
}

struct Ours {
    encoder: Encoder,
}

impl Ours {
    /// Seconds of one run.
    fn run_secs(&mut self, task: Task) -> Result<f64, Failure> {
        match task {
            Task::Image => self.images_secs(&[GRID; IMAGES]),
            Task::Text => self.prompts_secs(),
        }
    }

    /// Seconds of one batch of images with these grids.
    fn images_secs(&mut self, grids: &[Grid]) -> Result<f64, Failure> {
        let patch_dim = self.encoder.config().vision.patch_dim();
        let values = |grid: Grid| (0..grid.patches() * patch_dim).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        let patches: Vec<Patches> = grids.iter().map(|&grid| Patches { grid, values: values(grid) }).collect();
        let batch = PatchBatch::pack(&patches);
        let watch = Stopwatch::start();
        block_on(self.encoder.encode_images(&batch, ImageOutputs::default()))?;
        Ok(watch.elapsed_secs())
    }

    fn prompts_secs(&mut self) -> Result<f64, Failure> {
        let config = self.encoder.config().text;
        let id = |p: usize, i: usize| ((p * config.positions + i) * 7919 % config.vocab_size) as u32;
        let prompt = |p: usize| Tokens { ids: (0..config.positions).map(|i| id(p, i)).collect(), truncated: false };
        let prompts: Vec<Tokens> = (0..PROMPTS).map(prompt).collect();
        let watch = Stopwatch::start();
        block_on(self.encoder.encode_texts(&prompts))?;
        Ok(watch.elapsed_secs())
    }

    /// The time saved by packing budgets of 64 to 1,024 instead of padding all to 1,024, over the share of padding among the padded tokens.
    fn padding_won(&mut self) -> Result<f64, Failure> {
        let grids = [(8, 8), (8, 16), (16, 16), (24, 24), (32, 32)].map(|(rows, cols)| Grid { rows, cols });
        let tokens: usize = grids.iter().map(|grid| grid.patches()).sum();
        let padding = 1.0 - tokens as f64 / (5.0 * 1024.0);
        let mut saved = Vec::new();
        for _ in 0..RUNS {
            let (mixed, padded) = (self.images_secs(&grids)?, self.images_secs(&[grids[4]; 5])?);
            saved.push((1.0 - mixed / padded) / padding);
        }
        Ok(median(&mut saved))
    }

    /// Floating-point operations of one image or prompt.
    fn flops(&self, task: Task) -> f64 {
        let config = self.encoder.config();
        let one = |tokens| Counts { tokens, segments: 1 };
        match task {
            Task::Image => VisionTower::new(&config.vision).plan(one(GRID.patches()), None).flops(&[GRID.patches()]) as f64,
            Task::Text => TextTower::new(&config.text).plan(one(config.text.positions)).flops(&[config.text.positions]) as f64,
        }
    }
}

/// The rate of one large matrix product: what the machine can do at this moment.
fn peak_gflops() -> f64 {
    let shape = Gemm { rows: Rows::Tokens, n: 3072, k: 3072, epilogue: Epilogue::Store };
    let rows = 1024;
    let (x, weight) = (vec![0.5; rows * shape.k], PackedMatrix::new(&vec![0.25; shape.n * shape.k], shape.k));
    let (bias, mut y, mut scratch) = (vec![0.0; shape.n], vec![0.0; rows * shape.n], Vec::new());
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let watch = Stopwatch::start();
        shape.run(&x, &weight, &bias, &mut y, &mut scratch);
        best = best.min(watch.elapsed_secs());
    }
    2.0 * (rows * shape.n * shape.k) as f64 / best / 1e9
}

/// What the script can run.
const PEERS: [&str; 2] = ["onnxruntime", "torch"];
