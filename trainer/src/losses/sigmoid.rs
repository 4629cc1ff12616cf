//! The sigmoid loss of image-text pairs (SigLIP, Algorithm 1; big_vision `trainers/proj/image_text/siglip.py`):
//!
//! L = −(1/N) Σᵢ Σⱼ log σ(yᵢⱼ zᵢⱼ) = (1/N) Σᵢ Σⱼ softplus(−yᵢⱼ zᵢⱼ), zᵢⱼ = exp(t′)·⟨xᵢ, yⱼ⟩ + b, with yᵢⱼ = 1 for pairs and −1 for all else.
//! The sum is divided by N, not N². Where each image has k texts, j runs over N·k texts of which k are the image's own, and the divisor is
//! N·k (our choice: the paper has k = 1). Everything is f32, and pairs get their own sign before softplus: taking them as negatives first and
//! subtracting zᵢᵢ afterwards would cancel what is left of a well-learnt pair.

use std::ops::Range;

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, FloatDType, Int, Tensor};

/// The loss as a node of a graph, `[1]`. All N² logits are held at once.
///
/// `images` are `[N, dim]` and `texts` `[N·k, dim]`, of unit length; text j belongs to image ⌊j / k⌋. `logit_scale` is t′ and `logit_bias` is
/// b, both `[1]`.
pub fn sigmoid_loss(images: Tensor<2>, texts: Tensor<2>, logit_scale: Tensor<1>, logit_bias: Tensor<1>) -> Tensor<1> {
    let (images, texts) = (images.cast(FloatDType::F32), texts.cast(FloatDType::F32));
    let [rows, pairs] = [images.dims()[0], texts.dims()[0]];
    let signs = signs(0..rows, pairs, pairs / rows, &images.device());
    let logits = images.matmul(texts.transpose()) * logit_scale.exp().unsqueeze::<2>() + logit_bias.unsqueeze::<2>();
    softplus(logits * signs).sum() / pairs as f64
}

/// −yᵢⱼ for rows `rows` of the logits, `[rows, pairs]`, with `each` texts of an image.
fn signs(rows: Range<usize>, pairs: usize, each: usize, device: &Device) -> Tensor<2> {
    let columns = (Tensor::<1, Int>::arange(0..pairs as i64, device) / each as i64).unsqueeze::<2>();
    let rows = Tensor::<1, Int>::arange(rows.start as i64..rows.end as i64, device).unsqueeze_dim::<2>(1);
    rows.equal(columns).float() * -2.0 + 1.0
}

/// log(1 + exp z) without overflow on either side.
fn softplus(z: Tensor<2>) -> Tensor<2> {
    z.clone().clamp_min(0.0) + z.abs().neg().exp().log1p()
}

/// The loss and its gradients.
#[derive(Clone, Debug)]
pub struct PairGradients {
    /// L, `[1]`.
    pub loss: Tensor<1>,
    /// `[N, dim]`.
    pub images: Tensor<2>,
    /// `[N·k, dim]`.
    pub texts: Tensor<2>,
    /// `[1]`.
    pub logit_scale: Tensor<1>,
    /// `[1]`.
    pub logit_bias: Tensor<1>,
}

/// The loss and its gradients in closed form, `chunk` rows of logits at a time: memory is chunk × N·k instead of N²·k. The arguments are those
/// of [`sigmoid_loss`]; graphs that they belong to are left alone.
///
/// With G = −y∘σ(−y∘Z) / (N·k): dX = exp(t′)·G·Y, dY = exp(t′)·Gᵀ·X, dt′ = Σ G∘(Z − b), db = ΣG.
pub fn sigmoid_loss_gradients(
    images: Tensor<2>,
    texts: Tensor<2>,
    logit_scale: Tensor<1>,
    logit_bias: Tensor<1>,
    chunk: usize,
) -> PairGradients {
    let plain = |x: Tensor<2>| x.without_autodiff().cast(FloatDType::F32);
    let (images, texts) = (plain(images), plain(texts));
    let (scale, bias) = (logit_scale.without_autodiff().exp(), logit_bias.without_autodiff());
    let ([rows, pairs], chunk) = ([images.dims()[0], texts.dims()[0]], chunk.max(1));
    let zero = Tensor::<1>::zeros([1], &texts.device());
    let mut sums = PairGradients {
        loss: zero.clone(),
        images: images.clone(),
        texts: texts.zeros_like(),
        logit_scale: zero.clone(),
        logit_bias: zero,
    };
    let image_gradients = (0..rows).step_by(chunk).map(|start| {
        let chunk = start..rows.min(start + chunk);
        let signs = signs(chunk.clone(), pairs, pairs / rows, &texts.device());
        sums.add_chunk(images.clone().slice([chunk]), &texts, [&scale, &bias], signs)
    });
    sums.images = Tensor::cat(image_gradients.collect(), 0);
    let (pairs, per_pair) = (pairs as f64, (scale / pairs as f64).unsqueeze::<2>());
    PairGradients {
        loss: sums.loss / pairs,
        images: sums.images * per_pair.clone(),
        texts: sums.texts * per_pair,
        logit_scale: sums.logit_scale / pairs,
        logit_bias: sums.logit_bias / pairs,
    }
}

impl PairGradients {
    /// Adds a chunk of images `[rows, dim]` to sums that lack the division by N·k and, for embeddings, the factor exp(t′); returns the
    /// gradient of these images, lacking the same.
    fn add_chunk(&mut self, images: Tensor<2>, texts: &Tensor<2>, [scale, bias]: [&Tensor<1>; 2], signs: Tensor<2>) -> Tensor<2> {
        let scaled = images.clone().matmul(texts.clone().transpose()) * scale.clone().unsqueeze::<2>();
        let signed = (scaled.clone() + bias.clone().unsqueeze::<2>()) * signs.clone();
        let gradient = sigmoid(signed.clone()) * signs;
        self.loss = self.loss.clone() + softplus(signed).sum();
        self.texts = self.texts.clone() + gradient.clone().transpose().matmul(images);
        self.logit_scale = self.logit_scale.clone() + (gradient.clone() * scaled).sum();
        self.logit_bias = self.logit_bias.clone() + gradient.clone().sum();
        gradient.matmul(texts.clone())
    }
}
