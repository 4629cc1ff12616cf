//! What the encoder asks of a backend, and a model loaded onto one.

use std::ops::Range;

use super::EncoderError;
use super::job::{Job, Tower};
use super::plan::{BatchData, BufferId, Plan};
use super::weights::{WeightShape, WeightSpec};
use crate::cpu::{CpuBackend, CpuWeight};
use crate::kernels::Counts;
use crate::weights::Checkpoint;

/// Something that runs plans.
pub(super) trait Backend {
    type Weight;

    /// Takes a weight over from row-major f32.
    async fn upload(&self, values: &[f32], shape: WeightShape) -> Result<Self::Weight, EncoderError>;

    /// May choose between equivalent ways to run plans like this one.
    #[cfg(feature = "gpu")]
    async fn tune(&mut self, _weights: &[Self::Weight], _plan: &Plan) -> Result<(), EncoderError> {
        Ok(())
    }

    /// Runs a plan on a batch; the requested outputs in order.
    async fn run(&mut self, weights: &[Self::Weight], plan: &Plan, batch: &BatchData<'_>) -> Result<Vec<Vec<f32>>, EncoderError>;

    /// Most tokens that one run should have. `one_token` is the plan for a single one, which tells what each costs.
    fn max_tokens(&self, one_token: &Plan) -> usize;

    /// Capacity of the plan that runs a batch of `counts`.
    fn capacity(&self, counts: Counts) -> Counts;
}

/// Scratch memory of one CPU run. Larger runs are not faster: this is a thousand tokens and more for every size of model.
const CPU_SCRATCH_BYTES: usize = 64 << 20;

impl Backend for CpuBackend {
    type Weight = CpuWeight;

    async fn upload(&self, values: &[f32], shape: WeightShape) -> Result<CpuWeight, EncoderError> {
        Ok(match shape {
            WeightShape::Matrix { k, .. } => CpuWeight::matrix(values, k),
            WeightShape::Vector { .. } => CpuWeight::Vector(values.to_vec()),
        })
    }

    async fn run(&mut self, weights: &[CpuWeight], plan: &Plan, batch: &BatchData<'_>) -> Result<Vec<Vec<f32>>, EncoderError> {
        Ok(Self::run(self, weights, plan, batch)?)
    }

    fn max_tokens(&self, one_token: &Plan) -> usize {
        CPU_SCRATCH_BYTES / one_token.slots().bytes.iter().sum::<usize>().max(1)
    }

    fn capacity(&self, counts: Counts) -> Counts {
        counts
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::{Backend, BatchData, BufferId, Counts, EncoderError, Plan, WeightShape};
    use crate::gpu::{AdapterChoice, GemmVariant, GpuBackend, GpuError, GpuWeight, WeightPrecision};

    /// How a GPU may compute.
    #[derive(Clone, Copy)]
    pub(in crate::encoder) struct Mode {
        /// How it stores matrices.
        pub(in crate::encoder) precision: WeightPrecision,
        /// Whether it keeps to what every adapter can do, and so to the plain gemm.
        pub(in crate::encoder) plain: bool,
    }

    /// A GPU, how it was chosen, and how it computes.
    pub(in crate::encoder) struct Gpu {
        pub(in crate::encoder) backend: GpuBackend,
        pub(in crate::encoder) choice: AdapterChoice,
        pub(in crate::encoder) mode: Mode,
    }

    impl Gpu {
        pub(in crate::encoder) async fn open(choice: AdapterChoice, mode: Mode) -> Result<Self, GpuError> {
            // Matrix units multiply f16 only, and what is experimental in wgpu is not asked for in vain.
            let backend = if mode.plain || mode.precision == WeightPrecision::F32 {
                GpuBackend::new(&choice).await?
            } else {
                GpuBackend::with_matrix_units(&choice).await?
            };
            Ok(Self { backend, choice, mode })
        }

        fn plain_gemm(&self) -> GemmVariant {
            GemmVariant::plain(self.backend.info())
        }

        /// Whether something other than the plain gemm is in use.
        pub(in crate::encoder) fn is_special(&self) -> bool {
            self.backend.gemm_variant() != self.plain_gemm()
        }

        /// The next simpler way to compute: the plain gemm, then f32. `None` if there is none.
        pub(in crate::encoder) fn simpler(&self) -> Option<Mode> {
            match self.mode.precision {
                _ if self.is_special() => Some(Mode { plain: true, ..self.mode }),
                WeightPrecision::F16 => Some(Mode { precision: WeightPrecision::F32, ..self.mode }),
                WeightPrecision::F32 => None,
            }
        }

        /// Changes the mode of an open device. Weights that were uploaded before keep their precision.
        pub(in crate::encoder) fn set_mode(&mut self, mode: Mode) {
            self.mode = mode;
            if mode.plain {
                self.backend.set_gemm_variant(self.plain_gemm());
            }
        }
    }

    /// Tokens of one GPU run: enough to fill the largest GPU, little enough that a run is short.
    const MAX_TOKENS: usize = 16_384;

    impl Backend for Gpu {
        type Weight = GpuWeight;

        async fn upload(&self, values: &[f32], shape: WeightShape) -> Result<GpuWeight, EncoderError> {
            Ok(match shape {
                WeightShape::Matrix { n, k, exact } => {
                    let precision = if exact { WeightPrecision::F32 } else { self.mode.precision };
                    self.backend.upload_matrix(values, n, k, precision).await?
                }
                WeightShape::Vector { .. } => self.backend.upload_vector(values).await?,
            })
        }

        #[cfg(not(target_family = "wasm"))]
        async fn tune(&mut self, weights: &[GpuWeight], plan: &Plan) -> Result<(), EncoderError> {
            let candidates = GemmVariant::candidates(self.backend.info());
            if !self.mode.plain && candidates.len() > 1 {
                let remembered = crate::platform::cache_folder().map(|folder| folder.join("gemm.json"));
                self.backend.tune_gemm(weights, plan, &candidates, remembered.as_deref()).await?;
            }
            Ok(())
        }

        async fn run(&mut self, weights: &[GpuWeight], plan: &Plan, batch: &BatchData<'_>) -> Result<Vec<Vec<f32>>, EncoderError> {
            Ok(self.backend.run(weights, plan, batch).await?)
        }

        fn max_tokens(&self, one_token: &Plan) -> usize {
            let widest = (0..one_token.buffers.len()).map(|i| one_token.bytes(BufferId(i))).max();
            // Capacities are rounded up, which must not pass the limit either.
            (self.backend.max_buffer_bytes() / widest.unwrap_or(1) / 2).min(MAX_TOKENS)
        }

        /// Rounded up, so that batches of similar size share a prepared plan.
        fn capacity(&self, counts: Counts) -> Counts {
            let round = |n: usize| n.next_multiple_of((n.next_power_of_two() / 4).max(1));
            Counts { tokens: round(counts.tokens).next_multiple_of(64), segments: round(counts.segments) }
        }
    }
}

#[cfg(feature = "gpu")]
pub(super) use gpu::{Gpu, Mode};

/// A backend with the towers that have been used so far.
pub(super) struct Loaded<B: Backend> {
    pub(super) backend: B,
    towers: [Option<Vec<B::Weight>>; 2],
}

impl<B: Backend> Loaded<B> {
    pub(super) const fn new(backend: B) -> Self {
        Self { backend, towers: [None, None] }
    }

    pub(super) fn max_tokens(&self, tower: &Tower<'_>) -> usize {
        self.backend.max_tokens(&tower.plan(Counts { tokens: 1, segments: 1 })).max(1)
    }

    #[cfg(feature = "gpu")]
    pub(super) const fn has(&self, tower: &Tower<'_>) -> bool {
        self.towers[tower.index()].is_some()
    }

    /// Runs some segments of a job and checks that the result is finite.
    pub(super) async fn run(
        &mut self,
        checkpoint: &Checkpoint,
        job: &Job<'_>,
        segments: &Range<usize>,
    ) -> Result<Vec<Vec<f32>>, EncoderError> {
        let weights = match &mut self.towers[job.tower.index()] {
            Some(weights) => weights,
            empty => empty.insert(upload(&self.backend, job.tower.specs(), checkpoint).await?),
        };
        let (tokens, offsets) = (job.tokens(segments), job.offsets_within(segments));
        let counts = Counts { tokens: tokens.len(), segments: segments.len() };
        let plan = job.tower.plan(self.backend.capacity(counts));
        let inputs: Vec<_> = job.inputs.iter().filter_map(|&(name, values)| Some((plan.find(name)?, job.rows(values, &tokens)))).collect();
        let outputs: Vec<BufferId> = job.outputs.iter().filter_map(|name| plan.find(name)).collect();
        let batch = BatchData { offsets: &offsets, inputs: &inputs, outputs: &outputs };
        let results = self.backend.run(weights, &plan, &batch).await?;
        for (name, values) in job.outputs.iter().zip(&results) {
            if !values.iter().all(|v| v.is_finite()) {
                return Err(EncoderError::NonFinite { output: (*name).to_owned() });
            }
        }
        Ok(results)
    }
}

/// Reads and uploads every weight of a tower.
pub(super) async fn upload<B: Backend>(backend: &B, specs: &[WeightSpec], checkpoint: &Checkpoint) -> Result<Vec<B::Weight>, EncoderError> {
    let mut weights = Vec::with_capacity(specs.len());
    for spec in specs {
        weights.push(backend.upload(&spec.read(checkpoint).await?, spec.shape).await?);
    }
    Ok(weights)
}
