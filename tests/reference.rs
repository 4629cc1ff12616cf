//! The truth that judges both backends: every kernel as a naive loop in f64, written for reading and never for speed.
//!
//! Each function takes the kernel's shape and its inputs in the order of the kernel and returns what the kernel should write. Row
//! counts follow from the lengths of the inputs. Beside them: deterministic test data, and the error measure the headers quote.

use polyglance::kernels::{Attention, Epilogue, Gemm, Hit, L2Normalize, LayerNorm, PoolingAttention, ScoresTopK, SelectLast};

/// y `[rows, n]`. `before` is what y held, which only [`Epilogue::Accumulate`] reads.
pub(crate) fn gemm(shape: &Gemm, x: &[f32], weight: &[f32], bias: &[f32], before: &[f32]) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len() / shape.k * shape.n);
    for x in x.chunks_exact(shape.k) {
        for (weight, &bias) in weight.chunks_exact(shape.k).zip(bias) {
            let sum = dot(x, weight) + f64::from(bias);
            y.push(match shape.epilogue {
                Epilogue::Store => sum,
                Epilogue::Gelu => gelu_tanh(sum),
                Epilogue::Accumulate => sum + f64::from(before[y.len()]),
            });
        }
    }
    y
}

/// Hendrycks and Gimpel's approximation (arXiv 1606.08415, section 2), which SigLIP was trained with.
fn gelu_tanh(v: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v * v * v);
    0.5 * v * (1.0 + inner.tanh())
}

/// y `[rows, dim]`.
pub(crate) fn layer_norm(shape: &LayerNorm, x: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f64> {
    let dim = shape.dim as f64;
    let mut y = Vec::with_capacity(x.len());
    for x in x.chunks_exact(shape.dim) {
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / dim;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / dim;
        let scale = (variance + f64::from(shape.eps)).sqrt().recip();
        y.extend(x.iter().zip(gamma.iter().zip(beta)).map(|(&x, (&g, &b))| (f64::from(x) - mean) * scale * f64::from(g) + f64::from(b)));
    }
    y
}

/// y `[tokens, heads·head_dim]`.
pub(crate) fn attention(shape: &Attention, offsets: &[u32], qkv: &[f32]) -> Vec<f64> {
    let (head_dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
    // Part 0 of a token's row is its queries, 1 its keys, 2 its values.
    let head_of = |token: usize, part: usize, head: usize| &qkv[token * 3 * width + part * width + head * head_dim..][..head_dim];
    let mut y = vec![0.0; qkv.len() / 3];
    for tokens in segments(offsets) {
        for token in tokens.clone() {
            for head in 0..shape.heads {
                let query = head_of(token, 0, head);
                let logits = tokens.clone().map(|key| dot(query, head_of(key, 1, head)) * f64::from(head_dim as u32).sqrt().recip());
                let weights = softmax(&logits.collect::<Vec<_>>());
                let y = &mut y[token * width + head * head_dim..][..head_dim];
                for (key, weight) in tokens.clone().zip(weights) {
                    add_scaled(y, weight, head_of(key, 2, head));
                }
            }
        }
    }
    y
}

/// y `[segments, heads·head_dim]` and weights `[tokens, heads]`.
pub(crate) fn pooling_attention(shape: &PoolingAttention, offsets: &[u32], query: &[f32], kv: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (heads, head_dim, width) = (shape.heads, shape.head_dim, shape.heads * shape.head_dim);
    let head_of = |token: usize, part: usize, head: usize| &kv[token * 2 * width + part * width + head * head_dim..][..head_dim];
    let mut y = vec![0.0; (offsets.len() - 1) * width];
    let mut weights = vec![0.0; kv.len() / (2 * width) * heads];
    for (segment, tokens) in segments(offsets).enumerate() {
        for head in 0..heads {
            let query = &query[head * head_dim..][..head_dim];
            let logits = tokens.clone().map(|key| dot(query, head_of(key, 0, head)) * f64::from(head_dim as u32).sqrt().recip());
            let shares = softmax(&logits.collect::<Vec<_>>());
            for (key, share) in tokens.clone().zip(shares) {
                add_scaled(&mut y[segment * width + head * head_dim..][..head_dim], share, head_of(key, 1, head));
                weights[key * heads + head] = share;
            }
        }
    }
    (y, weights)
}

/// y `[segments, dim]`.
pub(crate) fn select_last(shape: &SelectLast, offsets: &[u32], x: &[f32]) -> Vec<f64> {
    segments(offsets).flat_map(|tokens| &x[(tokens.end - 1) * shape.dim..][..shape.dim]).map(|&v| f64::from(v)).collect()
}

/// y `[segments, dim]`. A row of zeros stays zero.
pub(crate) fn l2_normalize(shape: &L2Normalize, x: &[f32]) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len());
    for x in x.chunks_exact(shape.dim) {
        let length = dot(x, x).sqrt();
        y.extend(x.iter().map(|&v| if length > 0.0 { f64::from(v) / length } else { 0.0 }));
    }
    y
}

/// Every row of the table as a hit of one query: row and score, the best first and of equal ones the lower row.
pub(crate) fn scores_top_k(shape: &ScoresTopK, query: &[f32], table: &[f32]) -> Vec<(u32, f64)> {
    let mut ranking: Vec<_> = (0..).zip(table.chunks_exact(shape.dim).map(|row| dot(query, row))).collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranking
}

/// Queries, rows, dim, k: the models' widths and sizes that are no multiple of anything; fewer rows than k; ends of tiles; many rows.
pub(crate) const SEARCH_SIZES: [(usize, usize, usize, usize); 14] = [
    (1, 1, 1, 1),
    (3, 1, 7, 5),
    (2, 3, 33, 1024),
    (1, 64, 768, 3),
    (2, 65, 1024, 64),
    (1, 511, 9, 600),
    (3, 512, 64, 512),
    (2, 513, 31, 10),
    (1, 1500, 1152, 1024),
    (17, 700, 30, 100),
    (5, 1000, 1536, 10),
    (1, 65_536, 4, 1024),
    (2, 70_001, 3, 7),
    (4, 131_072, 5, 1),
];

/// Fails unless these are the best hits. Scores may be off by the tolerance, so hits whose scores are closer than that may change places.
pub(crate) fn assert_best(shape: &ScoresTopK, queries: &[f32], table: &[f32], found: &[Vec<Hit>], tolerance: f64) {
    let rows = table.len() / shape.dim;
    assert_eq!(found.len(), queries.len() / shape.dim);
    let (mut scores, mut truth, mut best) = (Vec::new(), Vec::new(), Vec::new());
    for (query, hits) in queries.chunks_exact(shape.dim).zip(found) {
        let ranking = scores_top_k(shape, query, table);
        assert_eq!(hits.len(), shape.k.min(rows), "{shape:?} of {rows} rows");
        let mut score_of_row = vec![f64::NAN; rows];
        ranking.iter().for_each(|&(row, score)| score_of_row[row as usize] = score);
        // Taking a row's score out makes a second hit of the same row NaN, which is infinitely wrong.
        truth.extend(hits.iter().map(|hit| std::mem::replace(&mut score_of_row[hit.row as usize], f64::NAN)));
        scores.extend(hits.iter().map(|hit| hit.score));
        best.extend(ranking.iter().take(hits.len()).map(|&(_, score)| score));
        let falls = |pair: &[Hit]| pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].row < pair[1].row);
        assert!(hits.windows(2).all(falls), "{shape:?} of {rows} rows: {hits:?}");
    }
    assert!(truth.iter().all(|score| !score.is_nan()), "{shape:?} of {rows} rows: a row is found twice");
    assert_close((shape, rows), &scores, &truth, tolerance);
    assert_close((shape, rows, "rank"), &scores, &best, tolerance);
}

/// Unit rows.
pub(crate) fn unit_rows(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
    l2_normalize(&L2Normalize { dim }, &noise(seed, rows * dim, 1.0)).iter().map(|&v| v as f32).collect()
}

/// Rows whose dot products are exact in every precision and are often equal.
pub(crate) fn coarse_rows(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
    noise(seed, rows * dim, 2.0).iter().map(|v| v.round() / 4.0).collect()
}

/// Rows, n, k: the models' widths and MLPs, tails of tiles in every direction, sizes that are no multiples of 4.
pub(crate) const GEMM_SIZES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (3, 5, 7),
    (67, 130, 30),
    (64, 64, 16),
    (65, 68, 20),
    (5, 768, 768),
    (2, 1024, 1024),
    (3, 4304, 1152),
    (3, 1152, 4304),
    (2, 1536, 1536),
    (9, 96, 588),
    (4096, 8, 16),
    (65_535, 4, 4),
    (65_536, 4, 4),
];

/// Token ranges of the segments.
fn segments(offsets: &[u32]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn add_scaled(y: &mut [f64], scale: f64, x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += scale * f64::from(x);
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let terms: Vec<f64> = logits.iter().map(|&logit| (logit - max).exp()).collect();
    let sum: f64 = terms.iter().sum();
    terms.iter().map(|term| term / sum).collect()
}

/// `len` values, close to a normal distribution with deviation `scale`. Equal seeds give equal values.
pub(crate) fn noise(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let uniform = |index: u64| {
        // splitmix64 on a counter (Steele, Lea and Flood 2014).
        let mut z = seed.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 24) as f32 - 0.5
    };
    // Three uniforms of variance 1/12 have deviation 1/2 together.
    (0..len as u64).map(|i| 2.0 * scale * (uniform(3 * i) + uniform(3 * i + 1) + uniform(3 * i + 2))).collect()
}

/// Offsets of segments with these lengths.
pub(crate) fn offsets(lengths: &[u32]) -> Vec<u32> {
    let ends = lengths.iter().scan(0, |end, &length| {
        *end += length;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// max |actual − expected| / max(1, |expected|): absolute for values up to one, relative above. NaN counts as infinite.
pub(crate) fn max_error(actual: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len(), "lengths differ");
    let errors = actual.iter().zip(expected).map(|(&a, &e)| (f64::from(a) - e).abs() / e.abs().max(1.0));
    errors.map(|error| if error.is_nan() { f64::INFINITY } else { error }).fold(0.0, f64::max)
}

/// Fails, naming the case, if an output is further from the truth than its header says. `--nocapture` shows what was reached.
pub(crate) fn assert_close(case: impl std::fmt::Debug, actual: &[f32], expected: &[f64], tolerance: f64) {
    let error = max_error(actual, expected);
    println!("{error:.1e} of {tolerance:e}: {case:?}");
    assert!(error <= tolerance, "{case:?}: error {error:e} is above {tolerance:e}");
}
