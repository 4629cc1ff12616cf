//! Which rows of a packed matrix belong to one sequence, and how they become rectangles where a device computes in rectangles.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::kernel::is_flex;

/// Sequences lying one after another in the rows of a `[tokens, width]` matrix.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    /// Sequence i owns rows offsets\[i\] to offsets\[i + 1\].
    offsets: Arc<[u32]>,
    longest: usize,
    /// Absent where all sequences are equally long, so that reshaping is enough, and on flex, which needs no rectangles.
    padding: Option<Padding>,
}

#[derive(Clone, Debug)]
struct Padding {
    /// For every place of the `[sequences, longest]` rectangle its packed row; any valid row where the place is padding.
    padded: Tensor<1, Int>,
    /// For every packed row its place in the rectangle.
    packed: Tensor<1, Int>,
    /// `[sequences, 1, 1, longest]`: 0 for tokens, very negative for padding.
    key_bias: Tensor<4>,
}

/// Added to the logit of a padded key. exp underflows to an exact zero, and a finite number cannot give NaN.
const MASKED: f32 = -1e30;

impl Packing {
    /// Sequence `i` owns rows `offsets[i]..offsets[i + 1]`.
    pub(crate) fn new(offsets: &[u32], device: &Device) -> Self {
        let lengths: Vec<usize> = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let equal = lengths.iter().all(|&length| length == longest);
        let padding = (!equal && !is_flex(device)).then(|| Padding::new(offsets, &lengths, longest, device));
        Self { offsets: offsets.into(), longest, padding }
    }

    /// `sequences` of `length` rows each.
    pub(crate) fn uniform(sequences: usize, length: usize) -> Self {
        Self { offsets: (0..=sequences).map(|i| (i * length) as u32).collect(), longest: length, padding: None }
    }

    /// Number of sequences.
    pub(crate) fn sequences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Where sequences begin, and the last one's end.
    pub(super) fn offsets(&self) -> Arc<[u32]> {
        Arc::clone(&self.offsets)
    }

    /// `[tokens, width]` to `[sequences, heads, longest, head_dim]`.
    pub(super) fn split(&self, x: Tensor<2>, heads: usize) -> Tensor<4> {
        let width = x.dims()[1];
        let x = match &self.padding {
            Some(padding) => x.select(0, padding.padded.clone()),
            None => x,
        };
        x.reshape([self.sequences(), self.longest, heads, width / heads]).swap_dims(1, 2)
    }

    /// The inverse of [`split`](Self::split); what stood in padding is dropped.
    pub(super) fn join(&self, x: Tensor<4>) -> Tensor<2> {
        let [_, heads, _, head_dim] = x.dims();
        let x = x.swap_dims(1, 2).reshape([self.sequences() * self.longest, heads * head_dim]);
        match &self.padding {
            Some(padding) => x.select(0, padding.packed.clone()),
            None => x,
        }
    }

    /// Attention logits with padded keys out of the game.
    pub(super) fn mask_keys(&self, logits: Tensor<4>) -> Tensor<4> {
        match &self.padding {
            Some(padding) => logits + padding.key_bias.clone(),
            None => logits,
        }
    }
}

impl Padding {
    fn new(offsets: &[u32], lengths: &[usize], longest: usize, device: &Device) -> Self {
        let mut padded = vec![0i32; lengths.len() * longest];
        let mut bias = vec![MASKED; padded.len()];
        let mut packed = Vec::new();
        let places = padded.chunks_exact_mut(longest).zip(bias.chunks_exact_mut(longest));
        for (sequence, ((padded, bias), (&start, &length))) in places.zip(offsets.iter().zip(lengths)).enumerate() {
            for (place, (row, bias)) in padded.iter_mut().zip(bias).enumerate().take(length) {
                *row = start as i32 + place as i32;
                *bias = 0.0;
                packed.push((sequence * longest + place) as i32);
            }
        }
        let indices = |values: Vec<i32>| {
            let len = values.len();
            Tensor::from_data(TensorData::new(values, [len]), device)
        };
        Self {
            padded: indices(padded),
            packed: indices(packed),
            key_bias: Tensor::from_data(TensorData::new(bias, [lengths.len(), 1, 1, longest]), device),
        }
    }
}
