//! The CPU twin of every kernel against the f64 reference, within the tolerances that the shaders' headers promise.

use half::f16;
use half::slice::HalfFloatSliceExt;
use polyglance::kernels::gemm::PackedMatrix;
use polyglance::kernels::{Attention, Epilogue, Gemm, Hit, L2Normalize, LayerNorm, PoolingAttention, Rows, ScoresTopK, SelectLast, Table};

use crate::reference::{self, GEMM_SIZES, SEARCH_SIZES, assert_best, assert_close, coarse_rows, noise, offsets, unit_rows};

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

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().copied().map(f16::from_f32).collect()
}

#[test]
fn the_best_scores_are_found_in_tables_of_every_size() {
    for (queries, rows, dim, k) in SEARCH_SIZES {
        let shape = ScoresTopK { dim, k };
        let (queries, table) = (unit_rows(30, queries, dim), unit_rows(31, rows, dim));
        assert_best(&shape, &queries, &table, &shape.run(&queries, Table::F32(&table)), 2e-6);
        let halves = halves(&table);
        assert_best(&shape, &queries, &halves.to_f32_vec(), &shape.run(&queries, Table::F16(&halves)), 2e-6);
    }
}

#[test]
fn equal_scores_are_ranked_by_row() {
    for (count, rows, dim, k) in SEARCH_SIZES {
        let shape = ScoresTopK { dim, k };
        let (queries, table) = (coarse_rows(32, count, dim), coarse_rows(33, rows, dim));
        for found in [shape.run(&queries, Table::F32(&table)), shape.run(&queries, Table::F16(&halves(&table)))] {
            for (query, hits) in queries.chunks_exact(dim).zip(found) {
                let expected = reference::scores_top_k(&shape, query, &table).into_iter().take(k);
                assert_eq!(hits, expected.map(|(row, score)| Hit { score: score as f32, row }).collect::<Vec<_>>(), "{shape:?} of {rows}");
            }
        }
    }
}

/// Every finite half, subnormal ones included, against the `half` crate.
#[test]
fn every_half_is_read_exactly() {
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|half| half.is_finite()).collect();
    // One column per query's only 1, so that each score is one half.
    let (dim, k) = (2, halves.len() / 2);
    for queries in [[1.0, 0.0, 0.0, 1.0].as_slice(), &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]] {
        let found = ScoresTopK { dim, k }.run(queries, Table::F16(&halves));
        for (column, hits) in found.iter().enumerate() {
            assert_eq!(hits.len(), k);
            for hit in hits {
                assert_eq!(hit.score, halves[hit.row as usize * dim + column % 2].to_f32());
            }
        }
    }
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    let none: Vec<Vec<Hit>> = vec![Vec::new(); 2];
    assert_eq!(ScoresTopK { dim: 3, k: 5 }.run(&[1.0; 6], Table::F32(&[])), none);
    assert_eq!(ScoresTopK { dim: 3, k: 0 }.run(&[1.0; 6], Table::F32(&[1.0; 9])), none);
    assert!(ScoresTopK { dim: 3, k: 5 }.run(&[], Table::F32(&[1.0; 9])).is_empty());
    assert!(ScoresTopK { dim: 0, k: 5 }.run(&[], Table::F32(&[])).is_empty());
    // A damaged row hides itself only.
    let found = ScoresTopK { dim: 1, k: usize::MAX }.run(&[1.0], Table::F32(&[0.5, f32::NAN, -0.0, 0.0, 0.75]));
    assert_eq!(found[0].iter().map(|hit| hit.row).collect::<Vec<_>>(), [4, 0, 2, 3]);
}

#[test]
fn pieces_of_a_table_merge_to_what_the_whole_gives() {
    let (shape, table, query) = (ScoresTopK { dim: 3, k: 40 }, coarse_rows(34, 1000, 3), coarse_rows(35, 1, 3));
    let whole = shape.run(&query, Table::F32(&table)).remove(0);
    let pieces = [700..1000, 0..10, 10..700].map(|rows| {
        let piece = Table::F32(&table[rows.start * 3..rows.end * 3]);
        (rows.start as u32, shape.run(&query, piece).remove(0))
    });
    assert_eq!(shape.merge(pieces), whole);
}
