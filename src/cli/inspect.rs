//! `polyglance inspect`: what a checkpoint is and what running it costs, without running it.
//!
//! Costs come from the plan that the encoder would run: nothing here repeats the model's arithmetic.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use polyglance::config::{ModelConfig, TowerConfig, VisionGeometry};
use polyglance::encoder::{Plan, TextTower, VisionTower, WeightShape, WeightSpec};
use polyglance::kernels::Counts;
use polyglance::weights::{Checkpoint, TensorInfo};

use super::args::{HubArgs, patch_budget};
use super::console::print;
use super::exit::Outcome;
use super::pictures::check_budget;
use super::table::{Table, bytes, grouped};
use super::{UsageError, model};

const HELP: &str = "\
Only headers are read, so this is instant and needs no GPU. FLOPs count a multiply-add as two.

Examples:
  polyglance inspect google/siglip2-base-patch16-naflex
  polyglance inspect ./my-model --max-num-patches 1024 --batch 8";

/// Show a model's configuration, tensors, parameters, and what a forward pass costs.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct InspectArgs {
    /// Model: a folder, a hub id, or demo for the small one inside.
    #[arg(value_name = "MODEL")]
    model: String,

    /// Patches of each picture in the plan, for NaFlex models only [default: the model's, 256].
    #[arg(long, value_name = "N", value_parser = patch_budget)]
    max_num_patches: Option<usize>,

    /// Pictures, and texts, in the plan.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    #[command(flatten)]
    hub: HubArgs,
}

/// Prints the configuration, the tensors and the costs.
pub(crate) fn run(args: &InspectArgs) -> Result<Outcome> {
    let checkpoint = model::open(Some(&args.model), &args.hub)?;
    let config = checkpoint.config();
    let patches = patches_per_picture(config, args.max_num_patches)?;
    let mut report = describe(config);
    report += &tensors(&checkpoint);
    report += &costs(config, patches, usize::from(args.batch));
    print(&report)?;
    Ok(Outcome::Done)
}

/// Patches of one picture: the budget of a NaFlex model, the grid of a fixed one.
fn patches_per_picture(config: &ModelConfig, budget: Option<usize>) -> Result<usize, UsageError> {
    check_budget(&config.vision, budget)?;
    Ok(match config.vision.geometry {
        VisionGeometry::NaFlex { .. } => budget.unwrap_or(config.vision.preprocessing.max_num_patches),
        VisionGeometry::Fixed { .. } => config.vision.table_side() * config.vision.table_side(),
    })
}

/// Dimensions and parameter counts.
fn describe(config: &ModelConfig) -> String {
    let (vision, text) = (&config.vision, &config.text);
    let kind = match vision.geometry {
        VisionGeometry::Fixed { image_size } => format!("fixed resolution, {image_size} × {image_size} pixels"),
        VisionGeometry::NaFlex { table_side } => format!("NaFlex, position table {table_side} × {table_side}"),
    };
    let tower = |tower: &TowerConfig| {
        let TowerConfig { width, mlp_dim, depth, heads, .. } = tower;
        format!("width {width}, {depth} blocks, {heads} heads of {}, MLP {mlp_dim}", tower.head_dim())
    };
    format!(
        "Configuration\n  vision      {kind}, patches of {patch} × {patch}; {}\n  text        {} positions, {} words; {}\n  \
         embeddings  {} values\n\nParameters\n  vision {} + text {} + 2 = {}\n\n",
        tower(&vision.tower),
        text.positions,
        grouped(text.vocab_size as u64),
        tower(&text.tower),
        config.embedding_dim(),
        grouped(vision.parameters()),
        grouped(text.parameters()),
        grouped(config.parameters()),
        patch = vision.patch_size,
    )
}

/// One line per tensor; those of all blocks of a tower share one.
fn tensors(checkpoint: &Checkpoint) -> String {
    let mut table = Table::new(&["tensor", "shape", "stored as", "blocks"]);
    let mut seen = BTreeSet::new();
    for tensor in checkpoint.tensors() {
        let name = without_index(&tensor.name);
        if seen.insert(name.clone()) {
            let same = checkpoint.tensors().filter(|other| without_index(&other.name) == name).count();
            let blocks = if name == tensor.name { String::new() } else { same.to_string() };
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            table.row([name, shape.join(" × "), tensor.dtype.to_string(), blocks]);
        }
    }
    let mut text = format!(
        "Tensors: {}, {}\n{}",
        checkpoint.tensors().count(),
        bytes(checkpoint.tensors().map(TensorInfo::bytes).sum()),
        table.render()
    );
    if let Some(first) = checkpoint.unused().first() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  and {} that are no part of the model and are ignored, such as {first}", checkpoint.unused().len());
    }
    text + "\n"
}

/// `a.layers.7.b` as `a.layers.*.b`.
fn without_index(name: &str) -> String {
    let parts = name.split('.').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

/// FLOPs and memory of one batch through each tower.
fn costs(config: &ModelConfig, patches: usize, batch: usize) -> String {
    let (vision, text) = (VisionTower::new(&config.vision), TextTower::new(&config.text));
    let capacity = |tokens: usize| Counts { tokens: tokens * batch, segments: batch };
    let mut table = Table::new(&["", "steps", "GFLOP", "weights f32", "weights f16", "scratch"]);
    let mut add = |name: String, plan: &Plan, specs: &[WeightSpec], tokens: usize| {
        let gflop = plan.flops(&vec![tokens; batch]) as f64 / 1e9;
        let scratch = plan.slots().bytes.iter().map(|&bytes| bytes as u64).sum();
        let [f32, f16] = [4, 2].map(|matrix_bytes| bytes(weight_bytes(specs, matrix_bytes)));
        table.row([name, plan.steps.len().to_string(), format!("{gflop:.1}"), f32, f16, bytes(scratch)]);
    };
    let positions = config.text.positions;
    add(format!("{batch} × picture of {patches} patches"), &vision.plan(capacity(patches), None), vision.specs(), patches);
    add(format!("{batch} × text of {positions} tokens"), &text.plan(capacity(positions)), text.specs(), positions);
    let table_bytes = (config.text.vocab_size * config.text.tower.width * size_of::<f32>()) as u64;
    format!(
        "Cost of a forward pass\n{}  The token table ({} in f32) stays on disk; rows are read as texts need them.\n",
        table.render(),
        bytes(table_bytes)
    )
}

/// Memory of a tower's weights, given the size of a matrix element; vectors and exact matrices are f32 always.
fn weight_bytes(specs: &[WeightSpec], matrix_bytes: usize) -> u64 {
    let size = |spec: &WeightSpec| match spec.shape {
        WeightShape::Matrix { n, k, exact } => n * k * if exact { size_of::<f32>() } else { matrix_bytes },
        WeightShape::Vector { len } => len * size_of::<f32>(),
    };
    specs.iter().map(|spec| size(spec) as u64).sum()
}
