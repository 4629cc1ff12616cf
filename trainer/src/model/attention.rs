//! Multi-head attention between packed sequences.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::packing::Packing;

/// softmax(q·kᵀ / √head_dim)·v for each head, sequence i of `queries` seeing sequence i of `keys` only. q is `[query tokens, width]`,
/// k and v are `[key tokens, width]`; heads lie side by side in a row.
pub(super) fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, queries: &Packing, keys: &Packing, heads: usize) -> Tensor<2> {
    let scale = ((q.dims()[1] / heads) as f64).sqrt().recip();
    // Scaling the queries touches fewer numbers than scaling the logits.
    let (q, k, v) = (queries.split(q * scale, heads), keys.split(k, heads), keys.split(v, heads));
    let logits = keys.mask_keys(q.matmul(k.swap_dims(2, 3)));
    queries.join(softmax(logits, 3).matmul(v))
}
