//! The CPU twin of every kernel against the f64 reference, within the tolerances that the shaders' headers promise.

use polyglance::kernels::gemm::PackedMatrix;
use polyglance::kernels::{Attention, Epilogue, Gemm, L2Normalize, LayerNorm, PoolingAttention, Rows, SelectLast};

use crate::reference::{self, GEMM_SIZES, assert_close, noise, offsets};

fn check_gemm(shape: Gemm, rows: usize) {
    let Gemm { n, k, .. } = shape;
    let (x, bias, before) = (noise(1, rows * k, 1.0), noise(2, n, 1.0), noise(3, rows * n, 1.0));
    let weight = noise(4, n * k, (k as f32).sqrt().recip());
    let mut y = before.clone();
    // Scratch memory of another size must not matter.
    let mut scratch = vec![f32::NAN; 7];
    shape.run(&x, &PackedMatrix::new(&weight, k), &bias, &mut y, &mut scratch);
    assert_close((rows, shape), &y, &reference::gemm(&shape, &x, &weight, &bias, &before), 2e-5);
}

#[test]
fn gemm_survives_every_size_and_epilogue() {
    for epilogue in [Epilogue::Store, Epilogue::Gelu, Epilogue::Accumulate] {
        for (rows, n, k) in GEMM_SIZES {
            check_gemm(Gemm { rows: Rows::Tokens, n, k, epilogue }, rows);
        }
        // Every height of a tile.
        for rows in 1..=25 {
            check_gemm(Gemm { rows: Rows::Tokens, n: 33, k: 9, epilogue }, rows);
        }
    }
}

#[test]
fn gelu_of_huge_values_is_finite() {
    let x = [-1e30, -3e9, -1e4, -100.0, -20.0, -5.0, -0.0, 0.0, 1e-30, 5.0, 20.0, 100.0, 1e4, 3e9, 1e30, 3.4e38];
    let shape = Gemm { rows: Rows::Tokens, n: 1, k: 1, epilogue: Epilogue::Gelu };
    let mut y = [0.0; 16];
    shape.run(&x, &PackedMatrix::new(&[1.0], 1), &[0.0], &mut y, &mut Vec::new());
    assert_close("gelu", &y, &reference::gemm(&shape, &x, &[1.0], &[0.0], &[]), 2e-5);
}

#[test]
fn layer_norm_survives_every_size_and_outliers() {
    for (rows, dim) in [(3, 768), (1, 1024), (2, 1152), (5, 1536), (4096, 8), (2, 1), (4, 7), (65_536, 4)] {
        let shape = LayerNorm { rows: Rows::Tokens, dim, eps: 1e-6 };
        let (mut x, gamma, beta) = (noise(7, rows * dim, 1.0), noise(5, dim, 1.0), noise(6, dim, 1.0));
        // One channel of hundreds, as released weights have, and a constant row.
        x.iter_mut().skip(dim / 3).step_by(dim).for_each(|v| *v *= 300.0);
        x[(rows - 1) * dim..].fill(5.0);
        let mut y = vec![0.0; x.len()];
        shape.run(&x, &gamma, &beta, &mut y);
        assert_close(shape, &y, &reference::layer_norm(&shape, &x, &gamma, &beta), 2e-5);
    }
}

fn check_attention(shape: Attention, lengths: &[u32], scale: f32) {
    let (offsets, width) = (offsets(lengths), shape.heads * shape.head_dim);
    let tokens = lengths.iter().sum::<u32>() as usize;
    let mut qkv = noise(11, tokens * 3 * width, 1.0);
    qkv.chunks_exact_mut(3 * width).for_each(|row| row[..width].iter_mut().for_each(|v| *v *= scale));
    let mut y = vec![0.0; tokens * width];
    shape.run(&offsets, &qkv, &mut y);
    assert_close((shape, lengths, scale), &y, &reference::attention(&shape, &offsets, &qkv), 5e-5);
}

#[test]
fn attention_survives_every_head_and_length() {
    for head_dim in [8, 32, 40, 64, 72, 96, 128] {
        check_attention(Attention { heads: 3, head_dim }, &[1, 31, 32, 33, 2, 70], 1.0);
    }
    check_attention(Attention { heads: 1, head_dim: 8 }, &[4096, 1], 1.0);
    // Logits of ±50 and far beyond.
    check_attention(Attention { heads: 2, head_dim: 64 }, &[40, 7], 15.0);
    check_attention(Attention { heads: 2, head_dim: 64 }, &[40, 7], 1000.0);
}

#[test]
fn pooling_attention_survives_every_head_and_length() {
    for (head_dim, scale) in [(8, 1.0), (32, 1.0), (64, 15.0), (72, 1.0), (96, 100.0)] {
        let shape = PoolingAttention { heads: 3, head_dim };
        let (offsets, width) = (offsets(&[1, 300, 2, 64]), 3 * head_dim);
        let (query, kv) = (noise(12, width, scale), noise(13, 367 * 2 * width, 1.0));
        let (mut y, mut weights) = (vec![f32::NAN; 4 * width], vec![f32::NAN; 367 * 3]);
        shape.run(&offsets, &query, &kv, &mut y, &mut weights);
        let (want_y, want_weights) = reference::pooling_attention(&shape, &offsets, &query, &kv);
        assert_close(shape, &y, &want_y, 5e-5);
        assert_close(shape, &weights, &want_weights, 5e-5);
    }
}

#[test]
fn rows_are_selected_and_normalised() {
    let (x, offsets) = (noise(14, 10 * 5, 1.0), offsets(&[1, 4, 5]));
    let mut last = vec![0.0; 3 * 5];
    SelectLast { dim: 5 }.run(&offsets, &x, &mut last);
    assert_close("select_last", &last, &reference::select_last(&SelectLast { dim: 5 }, &offsets, &x), 0.0);
    let shape = L2Normalize { dim: 1536 };
    let mut x = noise(15, 3 * 1536, 1e-3);
    x[1536..3072].fill(0.0);
    x[3072..].iter_mut().for_each(|v| *v *= 1e20);
    let mut y = vec![f32::NAN; x.len()];
    shape.run(&x, &mut y);
    assert_close("l2_normalize", &y, &reference::l2_normalize(&shape, &x), 1e-6);
}
