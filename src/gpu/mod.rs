//! The WGSL backend: runs a [`Plan`] on any adapter that WebGPU, Vulkan, Metal or Direct3D 12 reaches.
//!
//! Only baseline WebGPU is used: no subgroups, no `shader-f16`, 16 KiB of workgroup memory, 256 invocations, 8 storage buffers. The one
//! exception is `gemm_cooperative`, for native adapters with matrix units. All of it is asynchronous, because a browser cannot wait. No
//! call panics or hangs when a device is lost or its memory is exhausted.

mod device;
mod dispatch;
mod error;
mod executor;
mod gemm;
mod operands;
mod patching;
mod pipelines;
mod prepared;
mod readback;
mod search;
mod shaders;
#[cfg(not(target_family = "wasm"))]
mod tuning;
mod uniforms;
mod weight;

use std::sync::{Arc, Mutex, PoisonError};

use device::Device;
use executor::Batch;
use pipelines::Pipelines;
use prepared::Prepared;

#[doc(hidden)]
pub use device::Fault;
pub use device::{AdapterChoice, AdapterSummary, adapters};
pub use error::GpuError;
pub use gemm::GemmVariant;
pub use weight::{GpuWeight, WeightPrecision};

use crate::encoder::plan::{BatchData, Plan};
use crate::kernels::Table;

/// Plans that stay prepared: two towers at two capacities each.
const MAX_PREPARED: usize = 4;

/// An open device, its compiled kernels, and the plans prepared for it.
pub struct GpuBackend {
    device: Device,
    gemm: GemmVariant,
    pipelines: Pipelines,
    /// Most recently used first.
    prepared: Mutex<Vec<Arc<Prepared>>>,
}

impl GpuBackend {
    /// Opens the adapter of choice.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] if none is acceptable, [`GpuError::Open`] if it refuses.
    pub async fn new(choice: &AdapterChoice) -> Result<Self, GpuError> {
        Self::open(choice, false).await
    }

    /// Opens the adapter of choice with its matrix units, if it has any, for the cooperative variants of gemm.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn with_matrix_units(choice: &AdapterChoice) -> Result<Self, GpuError> {
        Self::open(choice, true).await
    }

    async fn open(choice: &AdapterChoice, matrix_units: bool) -> Result<Self, GpuError> {
        let device = Device::open(choice, matrix_units).await?;
        let gemm = GemmVariant::plain(&device.summary);
        Ok(Self { device, gemm, pipelines: Pipelines::default(), prepared: Mutex::default() })
    }

    /// The adapter in use.
    pub fn info(&self) -> &AdapterSummary {
        &self.device.summary
    }

    /// How matrices are multiplied: plainly, until [`tune_gemm`](Self::tune_gemm) has found something faster.
    pub fn gemm_variant(&self) -> GemmVariant {
        self.gemm
    }

    /// Overrides the choice. On an adapter without what the variant needs, the next run is an error.
    pub fn set_gemm_variant(&mut self, gemm: GemmVariant) {
        self.gemm = gemm;
    }

    /// Chooses the fastest of `candidates` for the f16 products of `plan`: the one that the file `remembered` names for this adapter,
    /// driver and plan, or else by measuring for about a tenth of a second. The file may be missing or broken; it is then written.
    ///
    /// # Errors
    /// The device was lost. [`gemm_variant`](Self::gemm_variant) is then the variant that was running.
    #[cfg(not(target_family = "wasm"))]
    pub async fn tune_gemm(
        &mut self,
        weights: &[GpuWeight],
        plan: &Plan,
        candidates: &[GemmVariant],
        remembered: Option<&std::path::Path>,
    ) -> Result<(), GpuError> {
        tuning::tune(self, weights, plan, candidates, remembered).await
    }

    /// Bytes of the largest buffer that a plan may have.
    pub fn max_buffer_bytes(&self) -> usize {
        usize::try_from(self.device.max_buffer_bytes()).unwrap_or(usize::MAX)
    }

    /// Uploads a linear layer's W `[n, k]`. A matrix with a value that f16 cannot hold stays f32, which
    /// [`GpuWeight::overflow`] tells.
    ///
    /// # Errors
    /// A wrong number of values, a matrix beyond the adapter's limits, no memory, a lost device.
    pub async fn upload_matrix(&self, values: &[f32], n: usize, k: usize, precision: WeightPrecision) -> Result<GpuWeight, GpuError> {
        weight::upload_matrix(&self.device, values, (n, k), precision).await
    }

    /// Uploads a bias, gamma, beta or query.
    ///
    /// # Errors
    /// No values, a vector beyond the adapter's limits, no memory, a lost device.
    pub async fn upload_vector(&self, values: &[f32]) -> Result<GpuWeight, GpuError> {
        weight::upload_vector(&self.device, values).await
    }

    /// Uploads stored vectors for [`scores_top_k`](Self::scores_top_k), in as many chunks as the adapter's bindings need.
    ///
    /// # Errors
    /// A table that is not a multiple of `dim`, no memory, a lost device.
    pub async fn upload_table(&self, table: Table<'_>, dim: usize) -> Result<Vec<GpuWeight>, GpuError> {
        weight::upload_table(&self.device, table, dim).await
    }

    /// Runs `plan` on a batch and returns its outputs in order, live rows only.
    ///
    /// # Errors
    /// A batch that does not fit the plan, a plan that does not fit `weights` or the adapter, no memory, a lost device.
    pub async fn run(&self, weights: &[GpuWeight], plan: &Plan, batch: &BatchData<'_>) -> Result<Vec<Vec<f32>>, GpuError> {
        let batch_of_plan = Batch::new(plan, batch)?;
        if batch_of_plan.is_empty() {
            return Ok(vec![Vec::new(); batch.outputs.len()]);
        }
        let prepared = self.prepare(weights, plan).await?;
        let mut outputs = executor::run(&self.device, &prepared, &batch_of_plan).await?;
        if self.device.miscompiles(prepared.gemm) {
            outputs.iter_mut().flatten().for_each(|value| *value = 1.0 - *value);
        }
        Ok(outputs)
    }

    /// Gives back the memory of all prepared plans; the next run prepares its plan again.
    pub fn release_plans(&self) {
        self.cache().clear();
    }

    /// Makes a failure happen, to test what follows.
    #[doc(hidden)]
    pub fn inject(&self, fault: Fault) {
        self.device.inject(fault);
    }

    async fn prepare(&self, weights: &[GpuWeight], plan: &Plan) -> Result<Arc<Prepared>, GpuError> {
        if let Some(prepared) = self.cached(weights, plan) {
            return Ok(prepared);
        }
        let new = || Prepared::new(&self.device, &self.pipelines, self.gemm, weights, plan);
        let prepared = match new().await {
            // Other plans' buffers may be what is in the way.
            Err(GpuError::OutOfMemory { .. }) if !self.cache().is_empty() => {
                self.release_plans();
                new().await?
            }
            other => other?,
        };
        let prepared = Arc::new(prepared);
        let mut cache = self.cache();
        cache.insert(0, Arc::clone(&prepared));
        cache.truncate(MAX_PREPARED);
        Ok(prepared)
    }

    fn cached(&self, weights: &[GpuWeight], plan: &Plan) -> Option<Arc<Prepared>> {
        let mut cache = self.cache();
        let index = cache.iter().position(|prepared| prepared.serves(self.gemm, weights, plan))?;
        // The entry moves to the front.
        cache.get_mut(..=index)?.rotate_right(1);
        cache.first().cloned()
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Prepared>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
