//! The layers that both towers are made of. Field names are Hugging Face's, so a parameter's path in the module is its name in a
//! checkpoint; weights are `[outputs, inputs]` as PyTorch has them.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use polyglance::config::TowerConfig;

use crate::ops::{Packing, attention, gelu_tanh, layer_norm, linear};

/// y = x·Wᵀ + b.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    pub(super) fn zeros(outputs: usize, inputs: usize, device: &Device) -> Self {
        Self { weight: zeros([outputs, inputs], device), bias: zeros([outputs], device) }
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.val(), self.bias.val())
    }
}

/// A parameter of zeros, to be filled by name.
pub(super) fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::zeros(shape, device))
}

/// LayerNorm over the last dimension, with biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f32,
}

impl LayerNorm {
    pub(super) fn zeros(tower: &TowerConfig, device: &Device) -> Self {
        Self { weight: zeros([tower.width], device), bias: zeros([tower.width], device), epsilon: tower.layer_norm_eps }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }
}

/// Two linear layers around a GELU.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `width` to `mlp_dim`.
    pub fc1: Linear,
    /// `mlp_dim` to `width`.
    pub fc2: Linear,
}

impl Mlp {
    pub(super) fn zeros(tower: &TowerConfig, device: &Device) -> Self {
        Self { fc1: Linear::zeros(tower.mlp_dim, tower.width, device), fc2: Linear::zeros(tower.width, tower.mlp_dim, device) }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(gelu_tanh(self.fc1.forward(x)))
    }
}

/// Multi-head self-attention within each sequence of a packed batch.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Queries.
    pub q_proj: Linear,
    /// Output.
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl SelfAttention {
    fn zeros(tower: &TowerConfig, device: &Device) -> Self {
        let square = || Linear::zeros(tower.width, tower.width, device);
        Self { k_proj: square(), v_proj: square(), q_proj: square(), out_proj: square(), heads: tower.heads }
    }

    /// What rows of `asking` read from the rows of `x`, sequence by sequence.
    fn forward(&self, asking: Tensor<2>, x: Tensor<2>, queries: &Packing, keys: &Packing) -> Tensor<2> {
        let (q, k, v) = (self.q_proj.forward(asking), self.k_proj.forward(x.clone()), self.v_proj.forward(x));
        self.out_proj.forward(attention(q, k, v, queries, keys, self.heads))
    }
}

/// A pre-norm block.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Attention.
    pub self_attn: SelfAttention,
    /// Before the MLP.
    pub layer_norm2: LayerNorm,
    /// MLP.
    pub mlp: Mlp,
}

impl EncoderLayer {
    fn zeros(tower: &TowerConfig, device: &Device) -> Self {
        Self {
            layer_norm1: LayerNorm::zeros(tower, device),
            self_attn: SelfAttention::zeros(tower, device),
            layer_norm2: LayerNorm::zeros(tower, device),
            mlp: Mlp::zeros(tower, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<2>, packing: &Packing) -> Tensor<2> {
        let normalised = self.layer_norm1.forward(x.clone());
        let x = x + self.self_attn.forward(normalised.clone(), normalised, packing, packing);
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }

    /// The same for the last row of every sequence of `length` rows only: `[sequences, width]`.
    pub(super) fn forward_last(&self, x: Tensor<2>, packing: &Packing, length: usize) -> Tensor<2> {
        let [rows, width] = x.dims();
        let sequences = rows / length;
        let last = |x: Tensor<2>| x.reshape([sequences, length, width]).narrow(1, length - 1, 1).reshape([sequences, width]);
        let normalised = self.layer_norm1.forward(x.clone());
        let asking = last(normalised.clone());
        let x = last(x) + self.self_attn.forward(asking, normalised, &Packing::uniform(sequences, 1), packing);
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }
}

/// Runs blocks one after another, `[tokens, width]` to the same.
pub(super) fn run_layers(layers: &[EncoderLayer], x: Tensor<2>, packing: &Packing) -> Tensor<2> {
    layers.iter().fold(x, |x, layer| layer.forward(x, packing))
}

/// The blocks of a tower.
#[derive(Module, Debug)]
pub struct Encoder {
    /// In forward order.
    pub layers: Vec<EncoderLayer>,
}

impl Encoder {
    pub(super) fn zeros(tower: &TowerConfig, device: &Device) -> Self {
        Self { layers: (0..tower.depth).map(|_| EncoderLayer::zeros(tower, device)).collect() }
    }
}

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[rows, width]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    pub(super) fn zeros(rows: usize, width: usize, device: &Device) -> Self {
        Self { weight: zeros([rows, width], device) }
    }
}

/// Rows divided by their Euclidean norms.
pub(super) fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let norms = (x.clone() * x.clone()).sum_dim(1).sqrt();
    x / norms
}
