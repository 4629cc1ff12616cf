//! `pooling_attention`: the attention of the MAP head, in which one learned query per head looks at every token of a segment.

/// Shape of one `pooling_attention`: query `[heads·head_dim]` (the projected probe), kv `[tokens, 2·heads·head_dim]` (columns: all keys,
/// all values) → y `[segments, heads·head_dim]` and weights `[tokens, heads]`, which sum to 1 over each segment's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolingAttention {
    /// Heads.
    pub heads: usize,
    /// Size of a head; a multiple of 8.
    pub head_dim: usize,
}

impl PoolingAttention {
    /// Scale of the logits, head_dim^−½.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }
}
