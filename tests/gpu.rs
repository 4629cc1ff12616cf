//! The WGSL backend on whatever adapter this machine has, a software one included.

mod alone;
mod faults;
mod kernels;
mod plans;
mod tuning;

use std::sync::OnceLock;

use polyglance::encoder::{BatchData, BufferId, Plan, Role, Step};
use polyglance::gpu::{AdapterChoice, GemmVariant, GpuBackend, GpuError, GpuWeight, WeightPrecision};
use polyglance::kernels::{Counts, Rows};
use polyglance::platform::block_on;

const GEMM_VARIANTS: [GemmVariant; 4] = [GemmVariant::Tiled, GemmVariant::Direct, GemmVariant::Cooperative8, GemmVariant::Cooperative16];

/// A backend for each way to multiply matrices, opened once. Empty, with a printed notice, on a machine without any adapter.
fn backends() -> &'static [GpuBackend] {
    static BACKENDS: OnceLock<Vec<GpuBackend>> = OnceLock::new();
    BACKENDS.get_or_init(|| GEMM_VARIANTS.into_iter().filter_map(open).collect())
}

/// Opens a backend of its own, for tests that break it.
fn open(gemm: GemmVariant) -> Option<GpuBackend> {
    match block_on(GpuBackend::with_matrix_units(&AdapterChoice::Any)) {
        Ok(backend) if !gemm.runs_on(backend.info()) => {
            eprintln!("SKIPPED: {} has no matrix units for {gemm:?}", backend.info());
            None
        }
        Ok(mut backend) => {
            backend.set_gemm_variant(gemm);
            Some(backend)
        }
        Err(GpuError::NoAdapter { .. }) => {
            eprintln!("SKIPPED: this machine has no GPU adapter, not even a software one");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The first backend, for kernels that have one variant.
fn any_backend() -> Option<&'static GpuBackend> {
    backends().first()
}

/// A weight to upload.
#[derive(Clone, Copy)]
enum Weight<'a> {
    Matrix(&'a [f32], (usize, usize), WeightPrecision),
    Vector(&'a [f32]),
}

fn upload(backend: &GpuBackend, weights: &[Weight<'_>]) -> Vec<GpuWeight> {
    let one = |weight: &Weight<'_>| match *weight {
        Weight::Matrix(values, (n, k), precision) => block_on(backend.upload_matrix(values, n, k, precision)),
        Weight::Vector(values) => block_on(backend.upload_vector(values)),
    };
    weights.iter().map(|weight| one(weight).unwrap()).collect()
}

/// A matrix of a one-step plan.
#[derive(Clone, Copy)]
enum Matrix<'a> {
    /// The host writes it.
    In(Rows, usize, &'a [f32]),
    /// The host reads it.
    Out(Rows, usize),
    /// Both.
    InOut(Rows, usize, &'a [f32]),
}

/// Runs the one step that `step` makes of the matrices' ids, in a plan with room for a little more than the batch.
fn run_step(
    backend: &GpuBackend,
    offsets: &[u32],
    matrices: &[Matrix<'_>],
    weights: &[Weight<'_>],
    step: impl Fn(&[BufferId]) -> Step,
) -> Result<Vec<Vec<f32>>, GpuError> {
    let tokens = *offsets.last().unwrap() as usize;
    let mut plan = Plan::new(Counts { tokens: tokens + 3, segments: offsets.len() });
    let (mut ids, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
    for &matrix in matrices {
        let (rows, cols, role) = match matrix {
            Matrix::In(rows, cols, _) | Matrix::InOut(rows, cols, _) => (rows, cols, Role::Input),
            Matrix::Out(rows, cols) => (rows, cols, Role::Output),
        };
        let id = plan.buffer("matrix", rows, cols, role);
        ids.push(id);
        if let Matrix::In(_, _, values) | Matrix::InOut(_, _, values) = matrix {
            inputs.push((id, values));
        }
        if !matches!(matrix, Matrix::In(..)) {
            outputs.push(id);
        }
    }
    plan.steps.push(step(&ids));
    let batch = BatchData { offsets, inputs: &inputs, outputs: &outputs };
    block_on(backend.run(&upload(backend, weights), &plan, &batch))
}
