//! What each step binds, how large its grid is, and whether plan, weights and steps fit together.

use super::GpuError;
use super::uniforms::{self, Counts};
use super::weight::GpuWeight;
use crate::encoder::plan::{BufferId, Plan, Slots, Step, WeightId};
use crate::kernels::Rows;

/// The largest head whose accumulators `attention` has room for.
const MAX_HEAD_DIM: usize = 128;

/// Invocations in a workgroup of the kernels that work by element.
pub(super) const WORKGROUP: u64 = 64;

/// Something that a shader binds.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    /// A matrix of the plan.
    Buffer(BufferId),
    /// A matrix or vector of the model.
    Weight(WeightId),
    /// Where segments begin.
    Offsets,
    /// The work list of `attention`.
    QueryTiles,
}

/// What a step binds from binding 2 on, in the order of its shader.
pub(super) fn operands(step: &Step) -> Vec<Operand> {
    use Operand::{Buffer, Offsets, QueryTiles, Weight};
    match *step {
        Step::Gemm { x, weight, bias, y, .. } => vec![Buffer(x), Weight(weight), Weight(bias), Buffer(y)],
        Step::LayerNorm { x, gamma, beta, y, .. } => vec![Buffer(x), Weight(gamma), Weight(beta), Buffer(y)],
        Step::Attention { qkv, y, .. } => vec![QueryTiles, Buffer(qkv), Buffer(y)],
        Step::PoolingAttention { query, kv, y, weights, .. } => vec![Offsets, Weight(query), Buffer(kv), Buffer(y), Buffer(weights)],
        Step::SelectLast { x, y, .. } => vec![Offsets, Buffer(x), Buffer(y)],
        Step::L2Normalize { x, y, .. } | Step::Copy { x, y } => vec![Buffer(x), Buffer(y)],
    }
}

/// The uniform at binding 0, as bytes.
pub(super) fn uniform(step: &Step) -> Vec<u8> {
    match step {
        Step::Gemm { shape, .. } => bytemuck::bytes_of(&uniforms::GemmShape::from(shape)).to_vec(),
        Step::LayerNorm { shape, .. } => bytemuck::bytes_of(&uniforms::LayerNormShape::from(shape)).to_vec(),
        Step::Attention { shape, .. } => bytemuck::bytes_of(&uniforms::AttentionShape::from(shape)).to_vec(),
        Step::PoolingAttention { shape, .. } => bytemuck::bytes_of(&uniforms::PoolingAttentionShape::from(shape)).to_vec(),
        Step::SelectLast { shape, .. } => bytemuck::bytes_of(&uniforms::SelectLastShape::from(shape)).to_vec(),
        Step::L2Normalize { shape, .. } => bytemuck::bytes_of(&uniforms::L2NormalizeShape::from(shape)).to_vec(),
        Step::Copy { .. } => Vec::new(),
    }
}

/// Workgroups that a step needs for the live rows. The rules are the `grid` lines of the shaders' headers.
pub(super) fn workgroups(step: &Step, counts: Counts, gemm: super::GemmVariant) -> u64 {
    let rows = |rows| match rows {
        Rows::Tokens => u64::from(counts.tokens),
        Rows::Segments => u64::from(counts.segments),
    };
    let segments = u64::from(counts.segments);
    match step {
        Step::Gemm { shape, .. } => gemm.workgroups(rows(shape.rows), shape.n as u64),
        Step::LayerNorm { shape, .. } => rows(shape.rows),
        Step::Attention { shape, .. } => u64::from(counts.query_tiles) * shape.heads as u64,
        Step::PoolingAttention { shape, .. } => segments * shape.heads as u64,
        Step::SelectLast { shape, .. } => (segments * (shape.dim as u64).div_ceil(4)).div_ceil(WORKGROUP),
        Step::L2Normalize { .. } => segments,
        Step::Copy { .. } => 0,
    }
}

/// Folds a number of workgroups into two dimensions of at most `limit` each; the last row may reach beyond the work.
pub(super) fn fold(workgroups: u64, limit: u32) -> (u32, u32) {
    let across = workgroups.min(u64::from(limit)).max(1);
    (across as u32, workgroups.div_ceil(across) as u32)
}

/// Columns of a buffer's rows in memory: shaders move vec4s, so rows begin at multiples of 4.
pub(super) fn stride(cols: usize) -> usize {
    cols.next_multiple_of(4)
}

/// The values of a matrix that was read from memory, its rows' padding dropped.
pub(super) fn unpadded(bytes: &[u8], cols: usize) -> Vec<f32> {
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
    if stride(cols) == cols {
        return values;
    }
    values.chunks_exact(stride(cols)).flat_map(|row| row.iter().take(cols)).copied().collect()
}

/// Refuses a plan whose steps do not fit its buffers, its weights or the shaders.
pub(super) fn check(plan: &Plan, slots: &Slots, weights: &[GpuWeight]) -> Result<(), GpuError> {
    plan.steps.iter().enumerate().try_for_each(|(index, step)| {
        check_step(plan, slots, weights, step).map_err(|reason| GpuError::Unsupported(format!("step {index}, {}: {reason}", step.kernel())))
    })
}

/// The sizes a step assumes against those that its buffers and weights have. Shaders do not check: they would compute nonsense.
fn check_step(plan: &Plan, slots: &Slots, weights: &[GpuWeight], step: &Step) -> Result<(), String> {
    let cols = |BufferId(id): BufferId, wanted: usize| match plan.buffers.get(id) {
        Some(buffer) if buffer.cols == wanted => Ok(()),
        Some(buffer) => Err(format!("{} has {} columns instead of {wanted}", buffer.name, buffer.cols)),
        None => Err(format!("there is no buffer {id}")),
    };
    let weight = |WeightId(id): WeightId, wanted: (usize, usize)| match weights.get(id) {
        Some(weight) if weight.shape == wanted => Ok(()),
        Some(weight) => Err(format!("weight {id} has shape {:?} instead of {wanted:?}", weight.shape)),
        None => Err(format!("there is no weight {id}")),
    };
    match *step {
        Step::Gemm { shape, x, weight: w, bias, y } => {
            cols(x, shape.k)?;
            cols(y, shape.n)?;
            weight(w, (shape.n, shape.k))?;
            weight(bias, (1, shape.n))?;
        }
        Step::LayerNorm { shape, x, gamma, beta, y } => {
            cols(x, shape.dim)?;
            cols(y, shape.dim)?;
            weight(gamma, (1, shape.dim))?;
            weight(beta, (1, shape.dim))?;
        }
        Step::Attention { shape, qkv, y } => {
            check_head(shape.head_dim)?;
            cols(qkv, 3 * shape.heads * shape.head_dim)?;
            cols(y, shape.heads * shape.head_dim)?;
        }
        Step::PoolingAttention { shape, query, kv, y, weights } => {
            check_head(shape.head_dim)?;
            weight(query, (1, shape.heads * shape.head_dim))?;
            cols(kv, 2 * shape.heads * shape.head_dim)?;
            cols(y, shape.heads * shape.head_dim)?;
            cols(weights, shape.heads)?;
        }
        Step::SelectLast { shape, x, y } => {
            cols(x, shape.dim)?;
            cols(y, shape.dim)?;
        }
        Step::L2Normalize { shape, x, y } => {
            cols(x, shape.dim)?;
            cols(y, shape.dim)?;
        }
        Step::Copy { x, y } => cols(x, plan.buffers.get(y.0).map_or(0, |buffer| buffer.cols))?,
    }
    check_aliasing(slots, step)
}

/// `attention` keeps a head in a fixed number of registers; the multiple of 8 is what every SigLIP model has.
fn check_head(head_dim: usize) -> Result<(), String> {
    let fits = head_dim.is_multiple_of(8) && (8..=MAX_HEAD_DIM).contains(&head_dim);
    fits.then_some(()).ok_or_else(|| format!("head_dim is {head_dim}, not a multiple of 8 up to {MAX_HEAD_DIM}"))
}

/// No shader may read what it writes under another name.
fn check_aliasing(slots: &Slots, step: &Step) -> Result<(), String> {
    let mut used: Vec<Option<&usize>> = step.buffers().map(|id| slots.of_buffer.get(id.0)).collect();
    let total = used.len();
    used.sort_unstable();
    used.dedup();
    (used.len() == total).then_some(()).ok_or_else(|| "two of its buffers share memory".to_owned())
}
