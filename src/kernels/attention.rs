//! `attention`: bidirectional multi-head self-attention within each segment of a packed batch.

/// Shape of one `attention`: qkv `[tokens, 3·heads·head_dim]` (columns: all queries, all keys, all values) → y `[tokens, heads·head_dim]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Heads.
    pub heads: usize,
    /// Size of a head; a multiple of 8.
    pub head_dim: usize,
}

impl Attention {
    /// Scale of the logits, head_dim^−½.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }
}
