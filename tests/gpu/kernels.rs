//! Every kernel and variant against the f64 reference, within the tolerance that its header promises.

use polyglance::encoder::{Step, WeightId};
use polyglance::gpu::{GemmVariant, GpuBackend, WeightPrecision};
use polyglance::kernels::{Attention, Epilogue, Gemm, L2Normalize, LayerNorm, PoolingAttention, Rows, SelectLast};

use super::{Matrix, Weight, any_backend, backends, run_step};
use crate::reference::{self, assert_close, noise, offsets};

fn check_gemm(backend: &GpuBackend, rows: usize, n: usize, k: usize, epilogue: Epilogue, precision: WeightPrecision) {
    let shape = Gemm { rows: Rows::Tokens, n, k, epilogue };
    let (mut x, bias, before) = (noise(1, rows * k, 1.0), noise(2, n, 1.0), noise(3, rows * n, 1.0));
    let mut weight = noise(4, n * k, (k as f32).sqrt().recip());
    let round = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32());
    let mut tolerance = 2e-5;
    if precision == WeightPrecision::F16 {
        round(&mut weight);
        if matches!(backend.gemm_variant(), GemmVariant::Cooperative8 | GemmVariant::Cooperative16) {
            round(&mut x);
            // Matrix units may cut off where a processor rounds.
            tolerance = 1e-4;
        }
    }
    let y = if epilogue == Epilogue::Accumulate { Matrix::InOut(Rows::Tokens, n, &before) } else { Matrix::Out(Rows::Tokens, n) };
    let matrices = [Matrix::In(Rows::Tokens, k, &x), y];
    let weights = [Weight::Matrix(&weight, (n, k), precision), Weight::Vector(&bias)];
    let step = |ids: &[_]| Step::Gemm { shape, x: ids[0], weight: WeightId(0), bias: WeightId(1), y: ids[1] };
    let y = run_step(backend, &offsets(&[rows as u32]), &matrices, &weights, step).unwrap();
    assert_close((rows, shape, precision, backend.gemm_variant()), &y[0], &reference::gemm(&shape, &x, &weight, &bias, &before), tolerance);
}

#[test]
fn gemm_survives_every_size() {
    for backend in backends() {
        for (index, (rows, n, k)) in reference::GEMM_SIZES.into_iter().enumerate() {
            let epilogue = [Epilogue::Store, Epilogue::Gelu, Epilogue::Accumulate][index % 3];
            check_gemm(backend, rows, n, k, epilogue, WeightPrecision::F32);
            check_gemm(backend, rows, n, k, epilogue, WeightPrecision::F16);
        }
    }
}

#[test]
fn gemm_has_every_epilogue_in_both_precisions() {
    for backend in backends() {
        for epilogue in [Epilogue::Store, Epilogue::Gelu, Epilogue::Accumulate] {
            check_gemm(backend, 33, 36, 40, epilogue, WeightPrecision::F32);
            check_gemm(backend, 33, 36, 40, epilogue, WeightPrecision::F16);
        }
    }
}

#[test]
fn gelu_of_huge_values_is_finite() {
    let x = [-1e30, -3e9, -1e4, -100.0, -20.0, -5.0, -0.0, 0.0, 1e-30, 5.0, 20.0, 100.0, 1e4, 3e9, 1e30, 3.4e38];
    let shape = Gemm { rows: Rows::Tokens, n: 1, k: 1, epilogue: Epilogue::Gelu };
    for backend in backends() {
        let matrices = [Matrix::In(Rows::Tokens, 1, &x), Matrix::Out(Rows::Tokens, 1)];
        let weights = [Weight::Matrix(&[1.0], (1, 1), WeightPrecision::F32), Weight::Vector(&[0.0])];
        let step = |ids: &[_]| Step::Gemm { shape, x: ids[0], weight: WeightId(0), bias: WeightId(1), y: ids[1] };
        let y = run_step(backend, &offsets(&[16]), &matrices, &weights, step).unwrap();
        assert_close("gelu", &y[0], &reference::gemm(&shape, &x, &[1.0], &[0.0], &[]), 2e-5);
    }
}

/// Values that f16 cannot hold must show, not turn into the largest that it can.
#[test]
fn matrix_units_do_not_hide_overflow() {
    for backend in backends() {
        let shape = Gemm { rows: Rows::Tokens, n: 4, k: 4, epilogue: Epilogue::Store };
        for (value, overflows) in [(65_504.0, false), (-65_504.0, false), (70_000.0, true), (-1e30, true)] {
            let matrices = [Matrix::In(Rows::Tokens, 4, &[1.0, value, 1.0, 1.0]), Matrix::Out(Rows::Tokens, 4)];
            let weights = [Weight::Matrix(&[1.0; 16], (4, 4), WeightPrecision::F16), Weight::Vector(&[0.0; 4])];
            let step = |ids: &[_]| Step::Gemm { shape, x: ids[0], weight: WeightId(0), bias: WeightId(1), y: ids[1] };
            let y = run_step(backend, &offsets(&[1]), &matrices, &weights, step).unwrap();
            let units = matches!(backend.gemm_variant(), GemmVariant::Cooperative8 | GemmVariant::Cooperative16);
            assert!(y[0].iter().all(|v| v.is_finite() != (units && overflows)), "{value} gives {:?}", y[0]);
        }
    }
}

fn check_layer_norm(backend: &GpuBackend, rows: Rows, count: usize, dim: usize, x: &[f32]) {
    let shape = LayerNorm { rows, dim, eps: 1e-6 };
    let (gamma, beta) = (noise(5, dim, 1.0), noise(6, dim, 1.0));
    let lengths = if rows == Rows::Tokens { vec![count as u32] } else { vec![1; count] };
    let matrices = [Matrix::In(rows, dim, x), Matrix::Out(rows, dim)];
    let step = |ids: &[_]| Step::LayerNorm { shape, x: ids[0], gamma: WeightId(0), beta: WeightId(1), y: ids[1] };
    let y = run_step(backend, &offsets(&lengths), &matrices, &[Weight::Vector(&gamma), Weight::Vector(&beta)], step).unwrap();
    assert_close((count, shape), &y[0], &reference::layer_norm(&shape, x, &gamma, &beta), 2e-5);
}

#[test]
fn layer_norm_survives_every_size() {
    let Some(backend) = any_backend() else { return };
    for (count, dim) in [(3, 768), (1, 1024), (2, 1152), (5, 1536), (4096, 8), (2, 1), (4, 7), (65_535, 4), (65_536, 4)] {
        check_layer_norm(backend, Rows::Tokens, count, dim, &noise(7, count * dim, 1.0));
        check_layer_norm(backend, Rows::Segments, count.min(300), dim, &noise(8, count.min(300) * dim, 1.0));
    }
}

#[test]
fn layer_norm_survives_outliers() {
    let Some(backend) = any_backend() else { return };
    let mut x = noise(9, 4 * 768, 1.0);
    // As released weights have: one channel of hundreds; and rows that are constant, zero, or far from zero.
    x.iter_mut().skip(77).step_by(768).for_each(|v| *v *= 300.0);
    x[768..1536].fill(0.0);
    x[1536..2304].fill(5.0);
    x[2304..].iter_mut().for_each(|v| *v += 30.0);
    check_layer_norm(backend, Rows::Tokens, 4, 768, &x);
}

/// A binding of exactly 128 MiB, the least that every WebGPU adapter has.
#[test]
fn layer_norm_fills_a_binding() {
    let Some(backend) = any_backend() else { return };
    let (rows, dim) = (65_533, 512);
    // Three rows more fit the plan: 65,536 × 512 × 4 bytes.
    let pattern = noise(10, 61 * dim, 1.0);
    let x: Vec<f32> = pattern.iter().copied().cycle().take(rows * dim).collect();
    check_layer_norm(backend, Rows::Tokens, rows, dim, &x);
}

fn check_attention(backend: &GpuBackend, heads: usize, head_dim: usize, lengths: &[u32], scale: f32) {
    let shape = Attention { heads, head_dim };
    let (offsets, width) = (offsets(lengths), heads * head_dim);
    let tokens = *offsets.last().unwrap() as usize;
    let mut qkv = noise(11, tokens * 3 * width, 1.0);
    // Queries alone set the size of the logits.
    qkv.chunks_exact_mut(3 * width).for_each(|row| row[..width].iter_mut().for_each(|v| *v *= scale));
    let matrices = [Matrix::In(Rows::Tokens, 3 * width, &qkv), Matrix::Out(Rows::Tokens, width)];
    let y = run_step(backend, &offsets, &matrices, &[], |ids| Step::Attention { shape, qkv: ids[0], y: ids[1] }).unwrap();
    let case = (shape, lengths.iter().take(9).collect::<Vec<_>>(), scale);
    assert_close(case, &y[0], &reference::attention(&shape, &offsets, &qkv), 5e-5);
}

#[test]
fn attention_survives_every_head_and_length() {
    let Some(backend) = any_backend() else { return };
    for head_dim in [8, 32, 40, 64, 72, 96, 128] {
        check_attention(backend, 3, head_dim, &[1, 31, 32, 33, 2, 70], 1.0);
    }
    check_attention(backend, 12, 64, &[64], 1.0);
    check_attention(backend, 1, 8, &[2500, 1], 1.0);
}

/// 65,536 workgroups need the grid's second dimension.
#[test]
fn attention_folds_its_grid() {
    let Some(backend) = any_backend() else { return };
    check_attention(backend, 8, 8, &[1; 8192], 1.0);
    check_attention(backend, 1, 8, &[1; 65_535], 1.0);
}

#[test]
fn attention_survives_large_logits() {
    let Some(backend) = any_backend() else { return };
    for head_dim in [64, 72, 96] {
        // Standard deviation 14 of the logits: the largest of thousands reach ±50.
        check_attention(backend, 2, head_dim, &[130, 17], 14.0);
    }
}

#[test]
fn attention_to_one_key_among_extreme_logits_is_that_key() {
    let Some(backend) = any_backend() else { return };
    let shape = Attention { heads: 1, head_dim: 8 };
    let rows = 40;
    // Every query likes key 35 with a logit of +28,000 and every other with −28,000; values tell the keys apart.
    let mut qkv = vec![0.0; rows * 24];
    for (token, row) in qkv.chunks_exact_mut(24).enumerate() {
        row[..8].fill(100.0);
        row[8..16].fill(if token == 35 { 100.0 } else { -100.0 });
        row[16..].fill(token as f32);
    }
    let matrices = [Matrix::In(Rows::Tokens, 24, &qkv), Matrix::Out(Rows::Tokens, 8)];
    let y = run_step(backend, &offsets(&[40]), &matrices, &[], |ids| Step::Attention { shape, qkv: ids[0], y: ids[1] }).unwrap();
    assert_eq!(y[0], vec![35.0; rows * 8]);
}

fn check_pooling(backend: &GpuBackend, heads: usize, head_dim: usize, lengths: &[u32], scale: f32) {
    let shape = PoolingAttention { heads, head_dim };
    let (offsets, width) = (offsets(lengths), heads * head_dim);
    let tokens = *offsets.last().unwrap() as usize;
    let (query, kv) = (noise(12, width, scale), noise(13, tokens * 2 * width, 1.0));
    let matrices = [Matrix::In(Rows::Tokens, 2 * width, &kv), Matrix::Out(Rows::Segments, width), Matrix::Out(Rows::Tokens, heads)];
    let step = |ids: &[_]| Step::PoolingAttention { shape, query: WeightId(0), kv: ids[0], y: ids[1], weights: ids[2] };
    let outputs = run_step(backend, &offsets, &matrices, &[Weight::Vector(&query)], step).unwrap();
    let (y, weights) = reference::pooling_attention(&shape, &offsets, &query, &kv);
    let case = (shape, lengths.iter().take(9).collect::<Vec<_>>(), scale);
    assert_close(&case, &outputs[0], &y, 2e-5);
    assert_close(&case, &outputs[1], &weights, 2e-5);
}

#[test]
fn pooling_attention_survives_every_head_and_length() {
    let Some(backend) = any_backend() else { return };
    for head_dim in [8, 32, 64, 72, 96, 128] {
        check_pooling(backend, 3, head_dim, &[1, 63, 64, 65, 2], 1.0);
        check_pooling(backend, 2, head_dim, &[90, 3], 14.0);
    }
    check_pooling(backend, 12, 64, &[4096, 1], 1.0);
    check_pooling(backend, 16, 96, &[9], 1.0);
}

#[test]
fn pooling_attention_folds_its_grid() {
    let Some(backend) = any_backend() else { return };
    check_pooling(backend, 1, 8, &[1; 65_535], 1.0);
    check_pooling(backend, 1, 8, &[1; 65_536], 1.0);
}

#[test]
fn select_last_survives_every_size() {
    let Some(backend) = any_backend() else { return };
    let ones = vec![1; 65_536];
    let cases: [(&[u32], usize); 7] =
        [(&[64, 64, 1], 768), (&[2, 3], 1024), (&[64], 1152), (&[1], 1536), (&[4096, 7], 8), (&ones[1..], 5), (&ones, 4)];
    for (lengths, dim) in cases {
        let (shape, offsets) = (SelectLast { dim }, offsets(lengths));
        let x = noise(14, *offsets.last().unwrap() as usize * dim, 1.0);
        let matrices = [Matrix::In(Rows::Tokens, dim, &x), Matrix::Out(Rows::Segments, dim)];
        let y = run_step(backend, &offsets, &matrices, &[], |ids| Step::SelectLast { shape, x: ids[0], y: ids[1] }).unwrap();
        assert_close((shape, lengths.len()), &y[0], &reference::select_last(&shape, &offsets, &x), 0.0);
    }
}

fn check_l2_normalize(backend: &GpuBackend, dim: usize, x: &[f32]) {
    let shape = L2Normalize { dim };
    let lengths = vec![1; x.len() / dim];
    let matrices = [Matrix::In(Rows::Segments, dim, x), Matrix::Out(Rows::Segments, dim)];
    let y = run_step(backend, &offsets(&lengths), &matrices, &[], |ids| Step::L2Normalize { shape, x: ids[0], y: ids[1] }).unwrap();
    assert_close((shape, lengths.len()), &y[0], &reference::l2_normalize(&shape, x), 1e-6);
}

#[test]
fn l2_normalize_survives_every_size_and_scale() {
    let Some(backend) = any_backend() else { return };
    for (rows, dim) in [(3, 768), (1, 1024), (2, 1152), (5, 1536), (7, 1), (4, 7), (65_535, 4), (65_536, 4)] {
        check_l2_normalize(backend, dim, &noise(15, rows * dim, 1.0));
    }
    // Squares of these overflow or vanish in f32; a row of zeros stays zero.
    for scale in [1e-30, 1e30, 0.0] {
        check_l2_normalize(backend, 768, &noise(16, 2 * 768, scale));
    }
}
