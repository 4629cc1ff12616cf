use polyglance::kernels::{gemm::PackedMatrix, *};
use std::time::Instant;
fn time(name: &str, flops: f64, mut f: impl FnMut()) {
    f();
    let mut best = f64::MAX;
    let mut all = vec![];
    for _ in 0..15 {
        let t = Instant::now();
        f();
        let s = t.elapsed().as_secs_f64();
        best = best.min(s);
        all.push(s);
    }
    all.sort_by(f64::total_cmp);
    println!("{name}: best {:.2} ms median {:.2} ms = {:.1} GFLOP/s", best * 1e3, all[7] * 1e3, flops / all[7] / 1e9);
}
fn main() {
    let rows: usize = std::env::args().nth(1).map_or(256, |s| s.parse().unwrap());
    for (n, k, e) in
        [(768, 768, Epilogue::Accumulate), (2304, 768, Epilogue::Store), (3072, 768, Epilogue::Gelu), (768, 3072, Epilogue::Accumulate)]
    {
        let x: Vec<f32> = (0..rows * k).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
        let w: Vec<f32> = (0..n * k).map(|i| ((i * 104729) % 1000) as f32 / 1000.0 - 0.5).collect();
        let b = vec![0.1; n];
        let p = PackedMatrix::new(&w, k);
        let mut y = vec![0.0; rows * n];
        let mut s = vec![];
        let g = Gemm { rows: Rows::Tokens, n, k, epilogue: e };
        time(&format!("gemm {rows}x{n}x{k}"), 2.0 * (rows * n * k) as f64, || g.run(&x, &p, &b, &mut y, &mut s));
    }
    let a = Attention { heads: 12, head_dim: 64 };
    let qkv: Vec<f32> = (0..rows * 2304).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
    let mut y = vec![0.0; rows * 768];
    time("attention 1 segment", 4.0 * (rows * rows * 768) as f64, || a.run(&[0, rows as u32], &qkv, &mut y));
    let ln = LayerNorm { rows: Rows::Tokens, dim: 768, eps: 1e-6 };
    let x: Vec<f32> = (0..rows * 768).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
    time("layer_norm", 8.0 * (rows * 768) as f64, || ln.run(&x, &x[..768], &x[..768], &mut y));
}
