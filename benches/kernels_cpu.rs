//! Speed of every CPU twin on the shapes of SigLIP 2 B/16 at 256 tokens. `cargo bench --bench kernels_cpu`.
//!
//! Items per second are floating-point operations per second; bytes per second, what is read from memory.

use divan::{
    Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use polyglance::config::Filter;
use polyglance::kernels::gemm::PackedMatrix;
use polyglance::kernels::{
    Attention, Epilogue, Gemm, ImageToPatches, L2Normalize, LayerNorm, PoolingAttention, Rows, ScoresTopK, SelectLast, Size, Table,
};

const TOKENS: usize = 256;
const WIDTH: usize = 768;
const MLP: usize = 3072;
const OFFSETS: [u32; 3] = [0, 128, 256];

fn main() {
    println!("{}", polyglance::cpu::CpuBackend::description());
    divan::Divan::from_args().sample_count(20).main();
}

/// Values between −1 and 1.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect()
}

/// The four linear layers of a block, by their output and input sizes.
#[divan::bench(args = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (MLP, WIDTH), (WIDTH, MLP)])]
fn gemm(bencher: Bencher<'_, '_>, (n, k): (usize, usize)) {
    let epilogue = if n == MLP { Epilogue::Gelu } else { Epilogue::Store };
    let shape = Gemm { rows: Rows::Tokens, n, k, epilogue };
    let (x, weight, bias) = (values(TOKENS * k), PackedMatrix::new(&values(n * k), k), values(n));
    let (mut y, mut scratch) = (vec![0.0; TOKENS * n], Vec::new());
    let flops = ItemsCount::new(2 * TOKENS * n * k);
    bencher.counter(flops).bench_local(|| shape.run(black_box(&x), &weight, &bias, &mut y, &mut scratch));
}

#[divan::bench]
fn attention(bencher: Bencher<'_, '_>) {
    let shape = Attention { heads: 12, head_dim: 64 };
    let (qkv, mut y) = (values(TOKENS * 3 * WIDTH), vec![0.0; TOKENS * WIDTH]);
    let flops = ItemsCount::new(4 * TOKENS * TOKENS * WIDTH);
    bencher.counter(flops).bench_local(|| shape.run(&[0, TOKENS as u32], black_box(&qkv), &mut y));
}

#[divan::bench]
fn pooling_attention(bencher: Bencher<'_, '_>) {
    let shape = PoolingAttention { heads: 12, head_dim: 64 };
    let (query, kv) = (values(WIDTH), values(TOKENS * 2 * WIDTH));
    let (mut y, mut weights) = (vec![0.0; 2 * WIDTH], vec![0.0; TOKENS * 12]);
    let flops = ItemsCount::new(4 * TOKENS * WIDTH);
    bencher.counter(flops).bench_local(|| shape.run(&OFFSETS, &query, black_box(&kv), &mut y, &mut weights));
}

#[divan::bench]
fn layer_norm(bencher: Bencher<'_, '_>) {
    let shape = LayerNorm { rows: Rows::Tokens, dim: WIDTH, eps: 1e-6 };
    let (x, gamma, beta, mut y) = (values(TOKENS * WIDTH), values(WIDTH), values(WIDTH), vec![0.0; TOKENS * WIDTH]);
    bencher.counter(ItemsCount::new(8 * TOKENS * WIDTH)).bench_local(|| shape.run(black_box(&x), &gamma, &beta, &mut y));
}

#[divan::bench]
fn l2_normalize(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (values(TOKENS * WIDTH), vec![0.0; TOKENS * WIDTH]);
    bencher.counter(ItemsCount::new(3 * TOKENS * WIDTH)).bench_local(|| L2Normalize { dim: WIDTH }.run(black_box(&x), &mut y));
}

#[divan::bench]
fn select_last(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (values(TOKENS * WIDTH), vec![0.0; 2 * WIDTH]);
    bencher.bench_local(|| SelectLast { dim: WIDTH }.run(&OFFSETS, black_box(&x), &mut y));
}

/// The ten best of 100,000 stored vectors for one or several queries.
#[divan::bench(args = [1, 2, 16], consts = [false, true])]
fn scores_top_k<const F16: bool>(bencher: Bencher<'_, '_>, queries: usize) {
    const STORED: usize = 100_000;
    let (queries, stored) = (values(queries * WIDTH), values(STORED * WIDTH));
    let halves: Vec<half::f16> = if F16 { stored.iter().map(|&v| half::f16::from_f32(v)).collect() } else { Vec::new() };
    let table = if F16 { Table::F16(&halves) } else { Table::F32(&stored) };
    let read = BytesCount::new(STORED * WIDTH * if F16 { 2 } else { 4 });
    bencher.counter(read).bench_local(|| ScoresTopK { dim: WIDTH, k: 10 }.run(black_box(&queries), table));
}

/// What reading memory costs by itself, beside `scores_top_k`.
#[divan::bench]
fn read_memory(bencher: Bencher<'_, '_>) {
    let mut stored = values(100_000 * WIDTH);
    let bytes = BytesCount::new(size_of_val(&*stored));
    let bits = |values: &[f32]| values.iter().fold(0, |bits, value| bits | value.to_bits());
    bencher.counter(bytes).bench_local(|| {
        polyglance::platform::for_each_chunk(black_box(&mut stored), 1 << 20, |_, chunk| {
            black_box(bits(chunk));
        });
    });
}

/// A 12-megapixel picture to 252 patches.
#[divan::bench]
fn image_to_patches(bencher: Bencher<'_, '_>) {
    let (source, target) = (Size { height: 3000, width: 4000 }, Size { height: 224, width: 288 });
    let shape = ImageToPatches { source, target, rows: 14, cols: 18, patch_size: 16, filter: Filter::Bilinear };
    let pixels: Vec<u8> = (0..3000 * 4000 * 3).map(|i| (i * 7919 % 256) as u8).collect();
    bencher.counter(BytesCount::new(pixels.len())).bench_local(|| shape.run(black_box(&pixels)));
}
