//! An inert description of one tower's forward pass: buffers, and steps that name a kernel.
//!
//! A plan holds no data and touches no device, so it can be printed, tested and costed anywhere. It is made for a capacity; token
//! count, offsets and grids are data that the kernels read, so one plan serves every batch that fits.

use crate::kernels::{Attention, Counts, Gemm, L2Normalize, LayerNorm, PoolingAttention, Rows, SelectLast};

/// Index of a buffer in [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Index of a weight in the tower's list of [`WeightSpec`](super::WeightSpec)s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Written by the host before the first step.
    Input,
    /// Lives between steps only.
    Scratch,
    /// Read by the host after the last step.
    Output,
}

/// One f32 matrix `[rows, cols]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Name in printed plans and error messages.
    pub name: &'static str,
    /// What its rows stand for.
    pub rows: Rows,
    /// Columns.
    pub cols: usize,
    /// Who writes and reads it.
    pub role: Role,
}

/// One kernel with its operands. A step never names one buffer twice, except that [`Epilogue::Accumulate`](crate::kernels::Epilogue)
/// reads and writes `y`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "operands carry the names of the kernel's formula")]
pub enum Step {
    Gemm {
        shape: Gemm,
        x: BufferId,
        weight: WeightId,
        bias: WeightId,
        y: BufferId,
    },
    LayerNorm {
        shape: LayerNorm,
        x: BufferId,
        gamma: WeightId,
        beta: WeightId,
        y: BufferId,
    },
    Attention {
        shape: Attention,
        qkv: BufferId,
        y: BufferId,
    },
    PoolingAttention {
        shape: PoolingAttention,
        query: WeightId,
        kv: BufferId,
        y: BufferId,
        weights: BufferId,
    },
    SelectLast {
        shape: SelectLast,
        x: BufferId,
        y: BufferId,
    },
    L2Normalize {
        shape: L2Normalize,
        x: BufferId,
        y: BufferId,
    },
    /// y = x, for outputs that are snapshots of a buffer that later steps change.
    Copy {
        x: BufferId,
        y: BufferId,
    },
}

impl Step {
    /// Name of the kernel, which is also the name of its shader.
    pub const fn kernel(&self) -> &'static str {
        match self {
            Self::Gemm { .. } => "gemm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::Attention { .. } => "attention",
            Self::PoolingAttention { .. } => "pooling_attention",
            Self::SelectLast { .. } => "select_last",
            Self::L2Normalize { .. } => "l2_normalize",
            Self::Copy { .. } => "copy",
        }
    }

    /// Buffers the step touches: what it reads, then what it writes.
    pub fn buffers(&self) -> impl Iterator<Item = BufferId> {
        let (x, ys) = match *self {
            Self::Gemm { x, y, .. } | Self::LayerNorm { x, y, .. } | Self::SelectLast { x, y, .. } => (x, [Some(y), None]),
            Self::L2Normalize { x, y, .. } | Self::Copy { x, y } => (x, [Some(y), None]),
            Self::Attention { qkv, y, .. } => (qkv, [Some(y), None]),
            Self::PoolingAttention { kv, y, weights, .. } => (kv, [Some(y), Some(weights)]),
        };
        std::iter::once(x).chain(ys.into_iter().flatten())
    }

    /// Floating-point operations on a batch, a multiply-add counted as two. `segment_tokens` are the lengths of its segments.
    pub fn flops(&self, counts: Counts, segment_tokens: &[usize]) -> u64 {
        match self {
            Self::Gemm { shape, .. } => 2 * (counts.rows(shape.rows) * shape.n * shape.k) as u64,
            Self::Attention { shape, .. } => segment_tokens.iter().map(|&t| 4 * (t * t * shape.heads * shape.head_dim) as u64).sum(),
            Self::PoolingAttention { shape, .. } => 4 * (counts.tokens * shape.heads * shape.head_dim) as u64,
            // Memory-bound steps: an order of magnitude is enough.
            Self::LayerNorm { shape, .. } => 8 * (counts.rows(shape.rows) * shape.dim) as u64,
            Self::L2Normalize { shape, .. } => 3 * (counts.segments * shape.dim) as u64,
            Self::SelectLast { .. } | Self::Copy { .. } => 0,
        }
    }
}

/// The forward pass of one tower, for batches of up to `capacity`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Room for this many rows.
    pub capacity: Counts,
    /// Every matrix the steps name.
    pub buffers: Vec<Buffer>,
    /// Kernels in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// An empty plan.
    pub const fn new(capacity: Counts) -> Self {
        Self { capacity, buffers: Vec::new(), steps: Vec::new() }
    }

    /// Adds a buffer.
    pub fn buffer(&mut self, name: &'static str, rows: Rows, cols: usize, role: Role) -> BufferId {
        self.buffers.push(Buffer { name, rows, cols, role });
        BufferId(self.buffers.len() - 1)
    }

    /// The buffer called `name`, if the plan has one.
    pub fn find(&self, name: &str) -> Option<BufferId> {
        self.buffers.iter().position(|buffer| buffer.name == name).map(BufferId)
    }

    /// Bytes of a buffer at the plan's capacity.
    pub fn bytes(&self, id: BufferId) -> usize {
        let buffer = &self.buffers[id.0];
        self.capacity.rows(buffer.rows) * buffer.cols * size_of::<f32>()
    }

    /// Assigns every buffer a slot of memory: buffers whose lifetimes do not overlap share one.
    ///
    /// Inputs live from the start and outputs to the end. Greedy in order of first use, the smallest free slot that is large enough first.
    pub fn slots(&self) -> Slots {
        let lifetimes = self.lifetimes();
        let mut order: Vec<usize> = (0..self.buffers.len()).collect();
        order.sort_by_key(|&i| lifetimes[i].0);
        let mut slots = Slots { of_buffer: vec![0; self.buffers.len()], bytes: Vec::new() };
        let mut busy_until: Vec<usize> = Vec::new();
        for i in order {
            let (first, last) = lifetimes[i];
            let bytes = self.bytes(BufferId(i));
            let free = (0..busy_until.len()).filter(|&slot| busy_until[slot] < first);
            // A slot that must grow is still better than a new one: choose the one that wastes or grows least.
            let slot = free.min_by_key(|&slot| slots.bytes[slot].abs_diff(bytes)).unwrap_or_else(|| {
                slots.bytes.push(0);
                busy_until.push(0);
                busy_until.len() - 1
            });
            slots.bytes[slot] = slots.bytes[slot].max(bytes);
            busy_until[slot] = last;
            slots.of_buffer[i] = slot;
        }
        slots
    }

    /// First and last step, counted from 1, in which each buffer holds something.
    fn lifetimes(&self) -> Vec<(usize, usize)> {
        let end = self.steps.len() + 1;
        let mut lifetimes = vec![(end, 0); self.buffers.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for BufferId(i) in step.buffers() {
                let (first, last) = &mut lifetimes[i];
                *first = (*first).min(index + 1);
                *last = (*last).max(index + 1);
            }
        }
        for (lifetime, buffer) in lifetimes.iter_mut().zip(&self.buffers) {
            match buffer.role {
                Role::Input => lifetime.0 = 0,
                Role::Output => lifetime.1 = end,
                Role::Scratch => {}
            }
        }
        lifetimes
    }

    /// Floating-point operations of a batch with these segment lengths.
    pub fn flops(&self, segment_tokens: &[usize]) -> u64 {
        let counts = Counts { tokens: segment_tokens.iter().sum(), segments: segment_tokens.len() };
        self.steps.iter().map(|step| step.flops(counts, segment_tokens)).sum()
    }
}

/// Which memory each buffer of a plan uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Slot of each buffer.
    pub of_buffer: Vec<usize>,
    /// Size of each slot at the plan's capacity.
    pub bytes: Vec<usize>,
}

/// What one run of a plan reads and returns.
#[derive(Clone, Copy, Debug)]
pub struct BatchData<'a> {
    /// Where each segment's tokens begin; the last element is the number of tokens.
    pub offsets: &'a [u32],
    /// Values of the plan's inputs, `[rows, cols]` each.
    pub inputs: &'a [(BufferId, &'a [f32])],
    /// Outputs to return, in this order.
    pub outputs: &'a [BufferId],
}

impl BatchData<'_> {
    /// Rows of this batch.
    pub fn counts(&self) -> Counts {
        Counts { tokens: self.offsets.last().map_or(0, |&end| end as usize), segments: self.offsets.len().saturating_sub(1) }
    }
}
