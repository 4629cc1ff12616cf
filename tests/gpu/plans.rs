//! Plans of several steps: memory that buffers share, batches smaller than the plan, runs at the same time, and refusals.

use polyglance::encoder::{BatchData, BufferId, Plan, Role, Step, WeightId};
use polyglance::gpu::{GpuBackend, GpuError, WeightPrecision};
use polyglance::kernels::{Attention, Counts, Epilogue, Gemm, L2Normalize, LayerNorm, Rows, SelectLast};
use polyglance::platform::block_on;

use super::{Weight, any_backend, backends, upload};
use crate::reference::{self, max_error, noise, offsets};

const WIDTH: usize = 16;
const ATTENTION: Attention = Attention { heads: 2, head_dim: 8 };
const NORM: LayerNorm = LayerNorm { rows: Rows::Tokens, dim: WIDTH, eps: 1e-6 };
const QKV: Gemm = Gemm { rows: Rows::Tokens, n: 3 * WIDTH, k: WIDTH, epilogue: Epilogue::Store };
const OUT: Gemm = Gemm { rows: Rows::Tokens, n: WIDTH, k: WIDTH, epilogue: Epilogue::Accumulate };

/// Half a transformer block and a last-token head, with a snapshot of the residual stream on the way.
fn block(capacity: Counts) -> (Plan, BufferId, [BufferId; 2]) {
    let mut plan = Plan::new(capacity);
    let stream = plan.buffer("stream", Rows::Tokens, WIDTH, Role::Input);
    let normed = plan.buffer("normed", Rows::Tokens, WIDTH, Role::Scratch);
    let qkv = plan.buffer("qkv", Rows::Tokens, 3 * WIDTH, Role::Scratch);
    let attended = plan.buffer("attended", Rows::Tokens, WIDTH, Role::Scratch);
    let snapshot = plan.buffer("snapshot", Rows::Tokens, WIDTH, Role::Output);
    let last = plan.buffer("last", Rows::Segments, WIDTH, Role::Scratch);
    let unit = plan.buffer("unit", Rows::Segments, WIDTH, Role::Output);
    plan.steps = vec![
        Step::LayerNorm { shape: NORM, x: stream, gamma: WeightId(0), beta: WeightId(1), y: normed },
        Step::Gemm { shape: QKV, x: normed, weight: WeightId(2), bias: WeightId(3), y: qkv },
        Step::Attention { shape: ATTENTION, qkv, y: attended },
        Step::Gemm { shape: OUT, x: attended, weight: WeightId(4), bias: WeightId(5), y: stream },
        Step::Copy { x: stream, y: snapshot },
        Step::SelectLast { shape: SelectLast { dim: WIDTH }, x: stream, y: last },
        Step::L2Normalize { shape: L2Normalize { dim: WIDTH }, x: last, y: unit },
    ];
    (plan, stream, [snapshot, unit])
}

struct BlockWeights([Vec<f32>; 6]);

impl BlockWeights {
    fn new() -> Self {
        let sizes = [WIDTH, WIDTH, 3 * WIDTH * WIDTH, 3 * WIDTH, WIDTH * WIDTH, WIDTH];
        Self(std::array::from_fn(|i| noise(20 + i as u64, sizes[i], 0.3)))
    }

    fn list(&self) -> [Weight<'_>; 6] {
        let [gamma, beta, qkv, qkv_bias, out, out_bias] = &self.0;
        [
            Weight::Vector(gamma),
            Weight::Vector(beta),
            Weight::Matrix(qkv, (3 * WIDTH, WIDTH), WeightPrecision::F32),
            Weight::Vector(qkv_bias),
            Weight::Matrix(out, (WIDTH, WIDTH), WeightPrecision::F32),
            Weight::Vector(out_bias),
        ]
    }

    /// The block by the f64 references, rounded to f32 between steps.
    fn expected(&self, offsets: &[u32], stream: &[f32]) -> [Vec<f64>; 2] {
        let f32s = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
        let [gamma, beta, qkv, qkv_bias, out, out_bias] = &self.0;
        let normed = f32s(reference::layer_norm(&NORM, stream, gamma, beta));
        let qkv = f32s(reference::gemm(&QKV, &normed, qkv, qkv_bias, &[]));
        let attended = f32s(reference::attention(&ATTENTION, offsets, &qkv));
        let snapshot = reference::gemm(&OUT, &attended, out, out_bias, stream);
        let last = f32s(reference::select_last(&SelectLast { dim: WIDTH }, offsets, &f32s(snapshot.clone())));
        [snapshot, reference::l2_normalize(&L2Normalize { dim: WIDTH }, &last)]
    }
}

fn check_block(backend: &GpuBackend, weights: &BlockWeights, uploaded: &[polyglance::gpu::GpuWeight], lengths: &[u32], seed: u64) {
    let (plan, stream, outputs) = block(Counts { tokens: 200, segments: 8 });
    let offsets = offsets(lengths);
    let x = noise(seed, *offsets.last().unwrap() as usize * WIDTH, 1.0);
    let batch = BatchData { offsets: &offsets, inputs: &[(stream, &x)], outputs: &outputs };
    let actual = block_on(backend.run(uploaded, &plan, &batch)).unwrap();
    for (actual, expected) in actual.iter().zip(weights.expected(&offsets, &x)) {
        let error = max_error(actual, &expected);
        assert!(error <= 1e-5, "{lengths:?}: {error:e}");
    }
}

#[test]
fn one_plan_serves_every_batch_that_fits() {
    for backend in backends() {
        let weights = BlockWeights::new();
        let uploaded = upload(backend, &weights.list());
        // Small ones after large ones would show what the large ones left behind.
        for (seed, lengths) in [&[150, 50][..], &[1], &[3, 40, 1, 1, 1, 64, 2, 9], &[200], &[33, 31]].into_iter().enumerate() {
            check_block(backend, &weights, &uploaded, lengths, seed as u64);
        }
        backend.release_plans();
        check_block(backend, &weights, &uploaded, &[5, 6], 99);
    }
}

#[test]
fn runs_at_the_same_time_do_not_mix() {
    let Some(backend) = any_backend() else { return };
    let weights = BlockWeights::new();
    let uploaded = upload(backend, &weights.list());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (weights, uploaded) = (&weights, &uploaded);
            scope.spawn(move || {
                for i in 0..8 {
                    check_block(backend, weights, uploaded, &[30 + thread, 7 * i + 1], u64::from(100 * thread + i));
                }
            });
        }
    });
}

#[test]
fn an_empty_batch_has_empty_outputs() {
    let Some(backend) = any_backend() else { return };
    let (plan, stream, outputs) = block(Counts { tokens: 8, segments: 1 });
    let uploaded = upload(backend, &BlockWeights::new().list());
    let batch = BatchData { offsets: &[0], inputs: &[(stream, &[])], outputs: &outputs };
    assert_eq!(block_on(backend.run(&uploaded, &plan, &batch)).unwrap(), vec![Vec::<f32>::new(); 2]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(backend) = any_backend() else { return };
    let uploaded = upload(backend, &BlockWeights::new().list());
    let (plan, stream, outputs) = block(Counts { tokens: 8, segments: 2 });
    let x = [0.0; 9 * WIDTH];
    let refused = |plan: &Plan, offsets: &[u32], x: &[f32]| {
        let batch = BatchData { offsets, inputs: &[(stream, x)], outputs: &outputs };
        let error = block_on(backend.run(&uploaded, plan, &batch)).unwrap_err();
        assert!(matches!(error, GpuError::Unsupported(_)), "{error}");
        error.to_string()
    };
    assert!(refused(&plan, &[0, 9], &x).contains("exceeds the plan"));
    assert!(refused(&plan, &[0, 1, 2, 3], &x[..3 * WIDTH]).contains("exceeds the plan"));
    assert!(refused(&plan, &[0, 4, 4], &x[..4 * WIDTH]).contains("no segment is empty"));
    assert!(refused(&plan, &[0, 4], &x[..5]).contains("stream has 5 values instead of 64"));
    let mut odd_head = plan.clone();
    odd_head.steps[2] = Step::Attention { shape: Attention { heads: 4, head_dim: 4 }, qkv: BufferId(2), y: BufferId(3) };
    assert!(refused(&odd_head, &[0, 4], &x[..4 * WIDTH]).contains("head_dim is 4"));
    let mut wrong_weight = plan.clone();
    wrong_weight.steps[1] = Step::Gemm { shape: QKV, x: BufferId(1), weight: WeightId(4), bias: WeightId(3), y: BufferId(2) };
    assert!(refused(&wrong_weight, &[0, 4], &x[..4 * WIDTH]).contains("weight 4 has shape (16, 16) instead of (48, 16)"));
}

#[test]
fn a_plan_beyond_the_adapter_is_too_large() {
    let Some(backend) = any_backend() else { return };
    let uploaded = upload(backend, &BlockWeights::new().list());
    let tokens = backend.max_buffer_bytes() / (3 * WIDTH * 4) + 1;
    let (plan, stream, outputs) = block(Counts { tokens, segments: 1 });
    let batch = BatchData { offsets: &[0, 1], inputs: &[(stream, &[0.0; WIDTH])], outputs: &outputs };
    let error = block_on(backend.run(&uploaded, &plan, &batch)).unwrap_err();
    assert!(matches!(&error, GpuError::TooLarge { name, .. } if name == "qkv"), "{error}");
}
