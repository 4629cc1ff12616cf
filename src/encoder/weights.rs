//! Which tensors of a checkpoint a tower needs, and the form its kernels want them in.

use std::borrow::Cow;

use super::plan::WeightId;
use crate::config::TowerConfig;
use crate::weights::{Checkpoint, WeightsError};

/// One weight of a tower, made from one or more tensors of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSpec {
    /// Canonical tensor names.
    pub tensors: Vec<String>,
    /// Its shape for the kernels.
    pub shape: WeightShape,
    /// How the tensors' values become the kernel's.
    pub transform: Transform,
}

/// Shape of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightShape {
    /// A linear layer's `[n, k]`.
    Matrix {
        /// Output features.
        n: usize,
        /// Input features.
        k: usize,
        /// Whether it stays f32 when the model is stored as f16.
        exact: bool,
    },
    /// A bias, gamma, beta or query; always f32.
    Vector {
        /// Elements.
        len: usize,
    },
}

/// From tensors to a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// The tensors' values one after the other: q, k and v become one matrix, so that one `gemm` projects all three.
    Stack,
    /// A Conv2d kernel `[D, 3, P, P]` becomes a Linear on flattened patches `[D, P·P·3]`.
    LinearFromConv {
        /// P.
        patch_size: usize,
    },
    /// The values after the first `n`: the keys' and values' part of a fused `in_proj`.
    After(usize),
    /// Wq·probe + bq from (probe, in_proj_weight, in_proj_bias): the MAP head's query, which is the same for every image.
    ProbeQuery,
}

impl WeightSpec {
    /// Reads the weight; borrowed from the checkpoint where it is stored just so.
    pub(crate) async fn read<'a>(&self, checkpoint: &'a Checkpoint) -> Result<Cow<'a, [f32]>, WeightsError> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for name in &self.tensors {
            tensors.push(checkpoint.read(name).await?);
        }
        Ok(match (self.transform, &mut *tensors) {
            (Transform::Stack, [whole]) => std::mem::take(whole),
            (Transform::LinearFromConv { patch_size }, [kernel]) => Cow::Owned(linear_from_conv(kernel, patch_size)),
            (Transform::After(skip), [whole]) => match std::mem::take(whole) {
                Cow::Borrowed(values) => Cow::Borrowed(&values[skip..]),
                Cow::Owned(values) => Cow::Owned(values[skip..].to_vec()),
            },
            (Transform::ProbeQuery, [probe, weight, bias]) => Cow::Owned(probe_query(probe, weight, bias)),
            (_, parts) => Cow::Owned(parts.concat()),
        })
    }
}

/// Reorders `[D, 3, P, P]` to `[D, (py, px, c)]`.
fn linear_from_conv(kernel: &[f32], patch_size: usize) -> Vec<f32> {
    let plane = patch_size * patch_size;
    kernel.chunks_exact(3 * plane).flat_map(|filter| (0..3 * plane).map(move |i| filter[i % 3 * plane + i / 3])).collect()
}

/// Wq·probe + bq, summed in f64: it is computed once.
fn probe_query(probe: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let dot = |row: &[f32]| row.iter().zip(probe).map(|(&w, &p)| f64::from(w) * f64::from(p)).sum::<f64>();
    weight.chunks_exact(probe.len()).zip(bias).take(probe.len()).map(|(row, &b)| (dot(row) + f64::from(b)) as f32).collect()
}

/// A linear layer's weight and bias.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) weight: WeightId,
    pub(super) bias: WeightId,
}

/// A LayerNorm's gamma and beta.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub(super) gamma: WeightId,
    pub(super) beta: WeightId,
}

/// Collects a tower's weights and hands out their ids.
#[derive(Debug, Default)]
pub(super) struct Specs(pub(super) Vec<WeightSpec>);

impl Specs {
    pub(super) fn add(&mut self, tensors: &[&str], shape: WeightShape, transform: Transform) -> WeightId {
        let tensors = tensors.iter().map(|&name| name.to_owned()).collect();
        self.0.push(WeightSpec { tensors, shape, transform });
        WeightId(self.0.len() - 1)
    }

    /// `{prefix}.weight` `[n, k]` and `{prefix}.bias` `[n]`.
    pub(super) fn linear(&mut self, prefix: &str, n: usize, k: usize) -> Linear {
        self.stacked(&[prefix], WeightShape::Matrix { n, k, exact: false }, n)
    }

    /// Queries, keys and values of `width` each, stacked into one matrix. It stays exact: attention logits of released models reach ±50,
    /// where a relative error of f16's size in q or k becomes one of several percent in the attention weights.
    pub(super) fn qkv(&mut self, prefixes: [&str; 3], width: usize) -> Linear {
        self.stacked(&prefixes, WeightShape::Matrix { n: 3 * width, k: width, exact: true }, 3 * width)
    }

    fn stacked(&mut self, prefixes: &[&str], weight: WeightShape, n: usize) -> Linear {
        let names = |suffix: &str| prefixes.iter().map(|prefix| format!("{prefix}.{suffix}")).collect::<Vec<_>>();
        let mut add = |names: Vec<String>, shape| self.add(&names.iter().map(String::as_str).collect::<Vec<_>>(), shape, Transform::Stack);
        Linear { weight: add(names("weight"), weight), bias: add(names("bias"), WeightShape::Vector { len: n }) }
    }

    /// `{prefix}.weight` and `{prefix}.bias` of a LayerNorm.
    pub(super) fn norm(&mut self, prefix: &str, dim: usize) -> Norm {
        let mut add = |suffix| self.add(&[&format!("{prefix}.{suffix}")], WeightShape::Vector { len: dim }, Transform::Stack);
        Norm { gamma: add("weight"), beta: add("bias") }
    }
}

/// The sixteen tensors of one block, as the kernels read them.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockWeights {
    pub(super) norm1: Norm,
    pub(super) qkv: Linear,
    pub(super) out: Linear,
    pub(super) norm2: Norm,
    pub(super) fc1: Linear,
    pub(super) fc2: Linear,
}

impl BlockWeights {
    pub(super) fn new(specs: &mut Specs, prefix: &str, tower: &TowerConfig) -> Self {
        let (d, m) = (tower.width, tower.mlp_dim);
        let name = |suffix: &str| format!("{prefix}.{suffix}");
        let (q, k, v) = (name("self_attn.q_proj"), name("self_attn.k_proj"), name("self_attn.v_proj"));
        Self {
            norm1: specs.norm(&name("layer_norm1"), d),
            qkv: specs.qkv([&q, &k, &v], d),
            out: specs.linear(&name("self_attn.out_proj"), d, d),
            norm2: specs.norm(&name("layer_norm2"), d),
            fc1: specs.linear(&name("mlp.fc1"), m, d),
            fc2: specs.linear(&name("mlp.fc2"), d, m),
        }
    }
}
