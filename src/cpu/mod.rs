//! The CPU backend: runs plans with the kernels' CPU twins, in f32, on all threads.

use crate::encoder::plan::{BatchData, BufferId, Plan, Step, WeightId};
use crate::kernels::gemm::PackedMatrix;
use crate::kernels::{Counts, simd};
use crate::platform;

/// Runs plans on the CPU. Scratch memory is kept between runs.
#[derive(Debug, Default)]
pub struct CpuBackend {
    slots: Vec<Vec<f32>>,
    packed: Vec<f32>,
}

/// A weight in the form the CPU twins read.
#[derive(Debug)]
pub enum CpuWeight {
    /// A linear layer's weight, packed for this machine's vectors.
    Matrix(PackedMatrix),
    /// A bias, gamma, beta or query.
    Vector(Vec<f32>),
}

impl CpuWeight {
    /// Packs a row-major `[n, k]`.
    pub fn matrix(values: &[f32], k: usize) -> Self {
        Self::Matrix(PackedMatrix::new(values, k))
    }

    /// Bytes it occupies.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.bytes(),
            Self::Vector(vector) => size_of_val(&**vector),
        }
    }
}

/// A plan names a weight in a role that it was not loaded for. Plans and weights come from the same tower, so this is a bug.
#[derive(Debug, thiserror::Error)]
#[error("weight {0} does not have the form that its step needs; please report this")]
pub struct WrongWeight(usize);

impl CpuBackend {
    /// Instruction set and threads, for people.
    pub fn description() -> String {
        format!("{}, {} threads", simd::instruction_set(), platform::threads())
    }

    /// Runs a plan and returns the requested outputs in order, `[rows of the batch, cols]` each.
    ///
    /// # Errors
    /// The weights are not those of the plan's tower.
    pub fn run(&mut self, weights: &[CpuWeight], plan: &Plan, batch: &BatchData<'_>) -> Result<Vec<Vec<f32>>, WrongWeight> {
        let slots = plan.slots();
        let counts = batch.counts();
        self.slots.resize_with(self.slots.len().max(slots.bytes.len()), Vec::new);
        let mut memory = Memory { plan, counts, of_buffer: &slots.of_buffer, slots: &mut self.slots };
        for &(buffer, values) in batch.inputs {
            let mut slot = memory.take(buffer);
            slot.copy_from_slice(values);
            memory.put(buffer, slot);
        }
        let weights = Weights(weights);
        for step in &plan.steps {
            run_step(step, &weights, batch.offsets, &mut memory, &mut self.packed)?;
        }
        Ok(batch.outputs.iter().map(|&output| memory.get(output).to_vec()).collect())
    }
}

fn run_step(
    step: &Step,
    weights: &Weights<'_>,
    offsets: &[u32],
    memory: &mut Memory<'_>,
    packed: &mut Vec<f32>,
) -> Result<(), WrongWeight> {
    match *step {
        Step::Gemm { shape, x, weight, bias, y } => {
            let (weight, bias) = (weights.matrix(weight)?, weights.vector(bias)?);
            memory.write(y, |memory, y| shape.run(memory.get(x), weight, bias, y, packed));
        }
        Step::LayerNorm { shape, x, gamma, beta, y } => {
            let (gamma, beta) = (weights.vector(gamma)?, weights.vector(beta)?);
            memory.write(y, |memory, y| shape.run(memory.get(x), gamma, beta, y));
        }
        Step::Attention { shape, qkv, y } => memory.write(y, |memory, y| shape.run(offsets, memory.get(qkv), y)),
        Step::PoolingAttention { shape, query, kv, y, weights: attention } => {
            let query = weights.vector(query)?;
            let mut attention_slot = memory.take(attention);
            memory.write(y, |memory, y| shape.run(offsets, query, memory.get(kv), y, &mut attention_slot));
            memory.put(attention, attention_slot);
        }
        Step::SelectLast { shape, x, y } => memory.write(y, |memory, y| shape.run(offsets, memory.get(x), y)),
        Step::L2Normalize { shape, x, y } => memory.write(y, |memory, y| shape.run(memory.get(x), y)),
        Step::Copy { x, y } => memory.write(y, |memory, y| y.copy_from_slice(memory.get(x))),
    }
    Ok(())
}

/// The buffers of one run. A step's output is taken out while the step reads the others.
struct Memory<'a> {
    plan: &'a Plan,
    counts: Counts,
    of_buffer: &'a [usize],
    slots: &'a mut [Vec<f32>],
}

impl Memory<'_> {
    fn len(&self, BufferId(id): BufferId) -> usize {
        let buffer = &self.plan.buffers[id];
        self.counts.rows(buffer.rows) * buffer.cols
    }

    fn get(&self, id: BufferId) -> &[f32] {
        &self.slots[self.of_buffer[id.0]][..self.len(id)]
    }

    /// Takes a buffer out, with exactly the rows of this batch.
    fn take(&mut self, id: BufferId) -> Vec<f32> {
        let len = self.len(id);
        let mut slot = std::mem::take(&mut self.slots[self.of_buffer[id.0]]);
        slot.resize(len, 0.0);
        slot
    }

    fn put(&mut self, id: BufferId, slot: Vec<f32>) {
        self.slots[self.of_buffer[id.0]] = slot;
    }

    fn write(&mut self, id: BufferId, step: impl FnOnce(&Self, &mut [f32])) {
        let mut slot = self.take(id);
        step(self, &mut slot);
        self.put(id, slot);
    }
}

struct Weights<'a>(&'a [CpuWeight]);

impl Weights<'_> {
    fn matrix(&self, WeightId(id): WeightId) -> Result<&PackedMatrix, WrongWeight> {
        match self.0.get(id) {
            Some(CpuWeight::Matrix(matrix)) => Ok(matrix),
            _ => Err(WrongWeight(id)),
        }
    }

    fn vector(&self, WeightId(id): WeightId) -> Result<&[f32], WrongWeight> {
        match self.0.get(id) {
            Some(CpuWeight::Vector(vector)) => Ok(vector),
            _ => Err(WrongWeight(id)),
        }
    }
}
