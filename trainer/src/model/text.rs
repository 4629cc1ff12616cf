//! The text tower: token rows to vectors.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use polyglance::config::TextConfig;
use polyglance::text::Tokens;

use super::layers::{Embedding, Encoder, EncoderLayer, LayerNorm, Linear};
use crate::ops::Packing;

/// Token and position embeddings.
#[derive(Module, Debug)]
pub struct TextEmbeddings {
    /// One row per token of the vocabulary. It always stays on the host and outside of any graph: a batch sees the rows it uses
    /// ([`TokenRows`]), and a gradient has these rows only.
    pub token_embedding: Embedding,
    /// One row per position.
    pub position_embedding: Embedding,
}

/// The rows of the token table that a batch of texts uses, each once, as a leaf of the batch's graph.
#[derive(Clone, Debug)]
pub struct TokenRows {
    /// Token ids, ascending.
    pub ids: Vec<u32>,
    /// `[ids, width]`, on the model's device.
    pub rows: Tensor<2>,
    /// For every token of the batch its row.
    index: Tensor<1, Int>,
    texts: usize,
}

impl TextEmbeddings {
    /// Gathers a batch's rows. Ids must lie inside the vocabulary.
    pub(super) fn gather(&self, tokens: &[Tokens], device: &Device) -> TokenRows {
        let mut ids: Vec<u32> = tokens.iter().flat_map(|tokens| tokens.ids.iter().copied()).collect();
        let all = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let index: Vec<i32> = all.iter().map(|id| ids.partition_point(|other| other < id) as i32).collect();
        let table = self.token_embedding.weight.val();
        let wanted = TensorData::new(ids.iter().map(|&id| id as i32).collect(), [ids.len()]);
        let rows = table.clone().select(0, Tensor::from_data(wanted, &table.device())).into_data();
        let index = TensorData::new(index, [all.len()]);
        let rows = Tensor::from_data(rows, device).set_require_grad(device.is_autodiff());
        TokenRows { ids, rows, index: Tensor::from_data(index, device), texts: tokens.len() }
    }
}

/// The text tower.
#[derive(Module, Debug)]
pub struct TextModel {
    /// Tokens and positions.
    pub embeddings: TextEmbeddings,
    /// Blocks.
    pub encoder: Encoder,
    /// After the blocks.
    pub final_layer_norm: LayerNorm,
    /// To the shared space.
    pub head: Linear,
    #[module(skip)]
    positions: usize,
}

impl TextModel {
    pub(super) fn zeros(text: &TextConfig, device: &Device) -> Self {
        let width = text.tower.width;
        Self {
            embeddings: TextEmbeddings {
                token_embedding: Embedding::zeros(text.vocab_size, width, &Device::flex()),
                position_embedding: Embedding::zeros(text.positions, width, device),
            },
            encoder: Encoder::zeros(&text.tower, device),
            final_layer_norm: LayerNorm::zeros(&text.tower, device),
            head: Linear::zeros(text.projection_dim, width, device),
            positions: text.positions,
        }
    }

    pub(super) fn packing(&self, texts: usize) -> Packing {
        Packing::uniform(texts, self.positions)
    }

    /// Token rows to the residual stream before the first block, `[texts · positions, width]`.
    pub(super) fn embed(&self, tokens: &TokenRows) -> Tensor<2> {
        let x = tokens.rows.clone().select(0, tokens.index.clone());
        let [rows, width] = x.dims();
        let positions = self.embeddings.position_embedding.weight.val().unsqueeze::<3>();
        (x.reshape([tokens.texts, self.positions, width]) + positions).reshape([rows, width])
    }

    /// The blocks between [`embed`](Self::embed) and [`pool`](Self::pool): all but the last.
    pub(super) fn layers(&self) -> &[EncoderLayer] {
        self.encoder.layers.split_last().map_or(&[], |(_, others)| others)
    }

    /// The residual stream before the last block to vectors `[texts, projection_dim]`. The last position stands for the text, so that the
    /// last block computes no other.
    pub(super) fn pool(&self, x: Tensor<2>, packing: &Packing) -> Tensor<2> {
        let x = match self.encoder.layers.last() {
            Some(layer) => layer.forward_last(x, packing, self.positions),
            None => x,
        };
        self.head.forward(self.final_layer_norm.forward(x))
    }
}

impl TokenRows {
    /// The same rows outside any graph.
    pub(crate) fn plain(self) -> Self {
        Self { rows: self.rows.without_autodiff(), index: self.index.without_autodiff(), ..self }
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.texts
    }
}
