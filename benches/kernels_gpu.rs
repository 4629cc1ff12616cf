//! Speed of every WGSL kernel on the shapes of SigLIP 2 B/16 at 256 tokens. `cargo bench --bench kernels_gpu`.
//!
//! A software adapter is measured only if there is no other. Items per second are floating-point operations per second.

use std::sync::OnceLock;

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use polyglance::config::Filter;
use polyglance::encoder::{BatchData, BufferId, Plan, Role, Step, WeightId};
use polyglance::gpu::{AdapterChoice, GemmVariant, GpuBackend, GpuError, GpuWeight, WeightPrecision};
use polyglance::kernels::{
    Attention, Counts, Epilogue, Gemm, ImageToPatches, L2Normalize, LayerNorm, PoolingAttention, Rows, ScoresTopK, SelectLast, Size, Table,
};
use polyglance::platform::block_on;

const TOKENS: usize = 256;
const SEGMENTS: usize = 2;
const WIDTH: usize = 768;
/// How often a plan repeats its step, so that transfers and submission do not count.
const REPEATS: usize = 8;

/// Of those, the ones that the adapter can run are measured.
const GEMM_VARIANTS: [GemmVariant; 4] = [GemmVariant::Tiled, GemmVariant::Direct, GemmVariant::Cooperative8, GemmVariant::Cooperative16];

fn main() {
    match backend(GemmVariant::Tiled) {
        Ok(backend) => println!("{}", backend.info()),
        Err(error) => return println!("nothing to measure: {error}"),
    }
    divan::Divan::from_args().sample_count(5).sample_size(1).main();
}

fn backend(gemm: GemmVariant) -> &'static Result<GpuBackend, GpuError> {
    static BACKENDS: [OnceLock<Result<GpuBackend, GpuError>>; 4] = [const { OnceLock::new() }; 4];
    BACKENDS[gemm as usize].get_or_init(|| {
        let mut backend = block_on(GpuBackend::with_matrix_units(&AdapterChoice::Any))?;
        backend.set_gemm_variant(gemm);
        Ok(backend)
    })
}

/// Times a plan that repeats one step. `buffers` are the columns and rows of its matrices, the first of them its input.
fn time(
    bencher: Bencher<'_, '_>,
    gemm: GemmVariant,
    buffers: &[(Rows, usize)],
    weights: impl Fn(&GpuBackend) -> Result<Vec<GpuWeight>, GpuError>,
    step: Step,
) {
    let Some(backend) = backend(gemm).as_ref().ok().filter(|backend| gemm.runs_on(backend.info())) else { return };
    let counts = Counts { tokens: TOKENS, segments: SEGMENTS };
    let mut plan = Plan::new(counts);
    for (index, &(rows, cols)) in buffers.iter().enumerate() {
        plan.buffer("matrix", rows, cols, if index == 0 { Role::Input } else { Role::Output });
    }
    plan.steps = vec![step; REPEATS];
    let Ok(weights) = weights(backend) else { return };
    let half = (TOKENS / SEGMENTS) as u32;
    let x = vec![0.5; counts.rows(buffers[0].0) * buffers[0].1];
    let offsets: Vec<u32> = (0..=SEGMENTS as u32).map(|segment| segment * half).collect();
    let batch = BatchData { offsets: &offsets, inputs: &[(BufferId(0), &x)], outputs: &[] };
    let flops = plan.flops(&[TOKENS / SEGMENTS; SEGMENTS]);
    bencher.counter(ItemsCount::new(flops)).bench(|| block_on(backend.run(&weights, &plan, &batch)).map(|_| ()));
}

#[divan::bench(args = GEMM_VARIANTS, consts = [false, true])]
fn gemm<const F16: bool>(bencher: Bencher<'_, '_>, variant: GemmVariant) {
    let precision = if F16 { WeightPrecision::F16 } else { WeightPrecision::F32 };
    let shape = Gemm { rows: Rows::Tokens, n: WIDTH, k: WIDTH, epilogue: Epilogue::Store };
    let weights = |backend: &GpuBackend| {
        let matrix = block_on(backend.upload_matrix(&[0.01; WIDTH * WIDTH], WIDTH, WIDTH, precision))?;
        Ok(vec![matrix, block_on(backend.upload_vector(&[0.1; WIDTH]))?])
    };
    let step = Step::Gemm { shape, x: BufferId(0), weight: WeightId(0), bias: WeightId(1), y: BufferId(1) };
    time(bencher, variant, &[(Rows::Tokens, WIDTH), (Rows::Tokens, WIDTH)], weights, step);
}

#[divan::bench]
fn layer_norm(bencher: Bencher<'_, '_>) {
    let shape = LayerNorm { rows: Rows::Tokens, dim: WIDTH, eps: 1e-6 };
    let weights = |backend: &GpuBackend| {
        let vector = block_on(backend.upload_vector(&[1.0; WIDTH]))?;
        Ok(vec![vector.clone(), vector])
    };
    let step = Step::LayerNorm { shape, x: BufferId(0), gamma: WeightId(0), beta: WeightId(1), y: BufferId(1) };
    time(bencher, GemmVariant::Tiled, &[(Rows::Tokens, WIDTH), (Rows::Tokens, WIDTH)], weights, step);
}

#[divan::bench(args = [64, 72, 96])]
fn attention(bencher: Bencher<'_, '_>, head_dim: usize) {
    let shape = Attention { heads: 12, head_dim };
    let step = Step::Attention { shape, qkv: BufferId(0), y: BufferId(1) };
    time(bencher, GemmVariant::Tiled, &[(Rows::Tokens, 36 * head_dim), (Rows::Tokens, 12 * head_dim)], |_| Ok(Vec::new()), step);
}

#[divan::bench]
fn pooling_attention(bencher: Bencher<'_, '_>) {
    let shape = PoolingAttention { heads: 12, head_dim: 64 };
    let weights = |backend: &GpuBackend| Ok(vec![block_on(backend.upload_vector(&[0.1; WIDTH]))?]);
    let step = Step::PoolingAttention { shape, query: WeightId(0), kv: BufferId(0), y: BufferId(1), weights: BufferId(2) };
    time(bencher, GemmVariant::Tiled, &[(Rows::Tokens, 2 * WIDTH), (Rows::Segments, WIDTH), (Rows::Tokens, 12)], weights, step);
}

#[divan::bench]
fn select_last(bencher: Bencher<'_, '_>) {
    let step = Step::SelectLast { shape: SelectLast { dim: WIDTH }, x: BufferId(0), y: BufferId(1) };
    time(bencher, GemmVariant::Tiled, &[(Rows::Tokens, WIDTH), (Rows::Segments, WIDTH)], |_| Ok(Vec::new()), step);
}

#[divan::bench]
fn l2_normalize(bencher: Bencher<'_, '_>) {
    let step = Step::L2Normalize { shape: L2Normalize { dim: WIDTH }, x: BufferId(0), y: BufferId(1) };
    time(bencher, GemmVariant::Tiled, &[(Rows::Segments, WIDTH), (Rows::Segments, WIDTH)], |_| Ok(Vec::new()), step);
}

/// The ten best of 10,000 stored vectors; bytes per second are those of the table.
#[divan::bench(args = [1, 16], consts = [false, true])]
fn scores_top_k<const F16: bool>(bencher: Bencher<'_, '_>, queries: usize) {
    const STORED: usize = 10_000;
    let Ok(backend) = backend(GemmVariant::Tiled) else { return };
    let (stored, halves) = (vec![0.03; STORED * WIDTH], vec![half::f16::from_f32(0.03); STORED * WIDTH]);
    let table = if F16 { Table::F16(&halves) } else { Table::F32(&stored) };
    let Ok(chunks) = block_on(backend.upload_table(table, WIDTH)) else { return };
    let (shape, queries) = (ScoresTopK { dim: WIDTH, k: 10 }, vec![0.03; queries * WIDTH]);
    let read = BytesCount::new(STORED * WIDTH * if F16 { 2 } else { 4 });
    bencher.counter(read).bench(|| block_on(backend.scores_top_k(shape, &queries, &chunks)).map(|_| ()));
}

/// A 12-megapixel picture to 252 patches, its transfer included.
#[divan::bench]
fn image_to_patches(bencher: Bencher<'_, '_>) {
    let Ok(backend) = backend(GemmVariant::Tiled) else { return };
    let (source, target) = (Size { height: 3000, width: 4000 }, Size { height: 224, width: 288 });
    let shape = ImageToPatches { source, target, rows: 14, cols: 18, patch_size: 16, filter: Filter::Bilinear };
    let pixels: Vec<u32> = (0..3000 * 4000_u32).map(|i| i.wrapping_mul(0x9E37_79B9)).collect();
    bencher.counter(BytesCount::new(pixels.len() * 4)).bench(|| block_on(backend.image_to_patches(&shape, &pixels)).map(|_| ()));
}
