//! Which variant of gemm is the fastest here: measured once for an adapter and a model's shapes, then remembered in a small file.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{AdapterSummary, GemmVariant, GpuBackend, GpuError, GpuWeight, WeightPrecision};
use crate::encoder::plan::{BatchData, Plan, Step};
use crate::kernels::Counts;
use crate::platform::{self, Stopwatch};
use crate::weights;

/// Work of one measured run: 20 ms at the half TFLOP/s of an integrated GPU, and enough to fill a large one.
const RUN_FLOPS: u64 = 10_000_000_000;
const MIN_TOKENS: u64 = 64;
const MAX_TOKENS: u64 = 1024;

/// Rounds over all candidates, of which each one's best counts. No round begins after `BUDGET_SECS`.
const ROUNDS: usize = 3;
const BUDGET_SECS: f64 = 0.05;

/// Adapters, drivers and models come and go: a fuller file starts anew.
const MAX_REMEMBERED: usize = 64;
const MAX_FILE_BYTES: u64 = 64 << 10;

/// See [`GpuBackend::tune_gemm`].
pub(super) async fn tune(
    backend: &mut GpuBackend,
    weights: &[GpuWeight],
    plan: &Plan,
    candidates: &[GemmVariant],
    remembered: Option<&Path>,
) -> Result<(), GpuError> {
    let Some(products) = products(weights, plan).filter(|_| candidates.len() > 1) else { return Ok(()) };
    let key = key(backend.info(), candidates, &products);
    let mut choices = remembered.map(read).unwrap_or_default();
    let known = choices.get(&key).and_then(|name| GemmVariant::named(name)).filter(|variant| candidates.contains(variant));
    if let Some(variant) = known {
        backend.gemm = variant;
        return Ok(());
    }
    let plain = backend.gemm;
    backend.gemm = fastest(backend, weights, &products, candidates).await?.unwrap_or(plain);
    if let Some(file) = remembered {
        if choices.len() >= MAX_REMEMBERED {
            choices.clear();
        }
        choices.insert(key, backend.gemm.name().to_owned());
        write(file, &choices);
    }
    Ok(())
}

/// The products of `plan` with f16 weights as a plan of their own, with room for about `RUN_FLOPS`. `None` if there are none.
fn products(weights: &[GpuWeight], plan: &Plan) -> Option<Plan> {
    let mut plan = plan.clone();
    let is_f16 = |index: usize| weights.get(index).is_some_and(|weight| weight.precision() == WeightPrecision::F16);
    plan.steps.retain(|step| matches!(step, Step::Gemm { weight, .. } if is_f16(weight.0)));
    let tokens = RUN_FLOPS.checked_div(plan.flops(&[1]))?.clamp(MIN_TOKENS, MAX_TOKENS);
    plan.capacity = Counts { tokens: tokens as usize, segments: 1 };
    Some(plan)
}

/// Measures every candidate. One that the driver rejects, or has no memory for, is out; `None` if all are.
async fn fastest(
    backend: &mut GpuBackend,
    weights: &[GpuWeight],
    products: &Plan,
    candidates: &[GemmVariant],
) -> Result<Option<GemmVariant>, GpuError> {
    let mut measured = Vec::new();
    for &variant in candidates {
        backend.gemm = variant;
        // Compiles, which must not count.
        match run(backend, weights, products, 1).await {
            Ok(_) => measured.push((variant, f64::INFINITY)),
            Err(error @ GpuError::DeviceLost(_)) => return Err(error),
            Err(error) => tracing::warn!("{} cannot run gemm {}: {error}", backend.info(), variant.name()),
        }
    }
    let clock = Stopwatch::start();
    for _ in 0..ROUNDS {
        for (variant, best_secs) in &mut measured {
            backend.gemm = *variant;
            *best_secs = best_secs.min(run(backend, weights, products, products.capacity.tokens).await?);
        }
        if clock.elapsed_secs() > BUDGET_SECS {
            break;
        }
    }
    tracing::debug!("gemm on {}, seconds: {measured:?}", backend.info());
    Ok(measured.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(variant, _)| variant))
}

/// Seconds of one run on this many tokens. The values are whatever the buffers hold: they do not change the speed.
async fn run(backend: &GpuBackend, weights: &[GpuWeight], products: &Plan, tokens: usize) -> Result<f64, GpuError> {
    let clock = Stopwatch::start();
    let batch = BatchData { offsets: &[0, tokens as u32], inputs: &[], outputs: &[] };
    backend.run(weights, products, &batch).await?;
    Ok(clock.elapsed_secs())
}

/// What a choice depends on: adapter and driver by name; shapes, candidates and their shaders as a hash.
fn key(adapter: &AdapterSummary, candidates: &[GemmVariant], products: &Plan) -> String {
    let mut hash = Sha256::new();
    for variant in candidates {
        hash.update(variant.name());
        hash.update(variant.shader(WeightPrecision::F16).wgsl);
    }
    for step in &products.steps {
        if let Step::Gemm { shape, .. } = step {
            hash.update(format!("{shape:?}"));
        }
    }
    let digits: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{adapter} {digits}")
}

/// The remembered choices: names of variants by [`key`]. Empty if the file is missing, too large or not understood.
fn read(file: &Path) -> BTreeMap<String, String> {
    let bytes = platform::read_small_file(file, MAX_FILE_BYTES);
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Writes the choices. Whether that works changes nothing but the time that the next start takes.
fn write(file: &Path, choices: &BTreeMap<String, String>) {
    let written = weights::replace_file(file, |writer| Ok(serde_json::to_writer_pretty(writer, choices)?));
    if let Err(error) = written {
        tracing::debug!("the choice of gemm is not remembered: {error}");
    }
}
