//! Activation checkpointing by block: forward keeps only what enters each block, backward computes a block again before it
//! differentiates it. Memory falls from everything a block computes to one `[tokens, width]` matrix per block, for one more forward pass.
//!
//! burn's own strategy recomputes cheap operations only and keeps the results of every product, attention weights among them.

use burn::module::Module;
use burn::tensor::Tensor;
use polyglance::image::PatchBatch;

use super::layers::{EncoderLayer, unit_rows};
use super::{ModelError, ModelGradients, Siglip, TokenRows};
use crate::ops::Packing;

/// What entered each block of a tower, and last what left it. Outside any graph.
#[derive(Debug)]
pub struct Trace {
    packing: Packing,
    inputs: Vec<Tensor<2>>,
}

impl Trace {
    fn record(x: Tensor<2>, packing: Packing, layers: &[EncoderLayer]) -> Self {
        let mut inputs = vec![x.clone()];
        layers.iter().fold(x, |x, layer| {
            let x = layer.forward(x, &packing);
            inputs.push(x.clone());
            x
        });
        Self { packing, inputs }
    }

    fn output(&self) -> Tensor<2> {
        self.inputs[self.inputs.len() - 1].clone()
    }
}

/// d loss / d parameters of one stretch of the graph from d loss / d output: the inner product of both has this gradient.
pub(crate) fn pull_back(output: Tensor<2>, gradient: Tensor<2>) -> burn::tensor::Gradients {
    (output * gradient.autodiff()).sum().backward()
}

impl Siglip {
    /// Embeddings as [`embed_images`](Self::embed_images) gives, outside any graph, and what [`pull_back_images`](Self::pull_back_images)
    /// needs.
    ///
    /// # Errors
    /// As [`embed_images`](Self::embed_images).
    pub fn trace_images(&self, batch: &PatchBatch) -> Result<(Tensor<2>, Trace), ModelError> {
        let plain = self.valid();
        let (x, packing) = plain.start_images(batch)?;
        let trace = Trace::record(x, packing, &plain.vision_model.encoder.layers);
        let embeddings = unit_rows(plain.vision_model.pool(trace.output(), &trace.packing));
        Ok((embeddings, trace))
    }

    /// Adds the vision tower's gradients, given those of the embeddings.
    ///
    /// # Errors
    /// As [`embed_images`](Self::embed_images).
    pub fn pull_back_images(
        &self,
        batch: &PatchBatch,
        trace: Trace,
        gradient: Tensor<2>,
        into: &mut ModelGradients,
    ) -> Result<(), ModelError> {
        let tower = &self.vision_model;
        let pool = |x, packing: &Packing| unit_rows(tower.pool(x, packing));
        if let Some(gradient) = self.pull_back_tower(&tower.encoder.layers, pool, trace, gradient, into) {
            let mut gradients = pull_back(self.start_images(batch)?.0, gradient);
            into.collect(self, &mut gradients);
        }
        Ok(())
    }

    /// As [`trace_images`](Self::trace_images), for texts.
    pub fn trace_texts(&self, tokens: &TokenRows) -> (Tensor<2>, Trace) {
        let plain = self.valid();
        let packing = plain.text_model.packing(tokens.texts());
        let trace = Trace::record(plain.text_model.embed(&tokens.clone().plain()), packing, plain.text_model.layers());
        let embeddings = unit_rows(plain.text_model.pool(trace.output(), &trace.packing));
        (embeddings, trace)
    }

    /// As [`pull_back_images`](Self::pull_back_images), for texts.
    ///
    /// # Errors
    /// The device fails.
    pub fn pull_back_texts(
        &self,
        tokens: &TokenRows,
        trace: Trace,
        gradient: Tensor<2>,
        into: &mut ModelGradients,
    ) -> Result<(), ModelError> {
        let tower = &self.text_model;
        let pool = |x, packing: &Packing| unit_rows(tower.pool(x, packing));
        if let Some(gradient) = self.pull_back_tower(tower.layers(), pool, trace, gradient, into) {
            let mut gradients = pull_back(tower.embed(tokens), gradient);
            into.collect(self, &mut gradients);
            into.collect_tokens(tokens, &mut gradients)?;
        }
        Ok(())
    }

    /// From d loss / d embeddings to d loss / d first block's input, block by block.
    fn pull_back_tower(
        &self,
        layers: &[EncoderLayer],
        pool: impl Fn(Tensor<2>, &Packing) -> Tensor<2>,
        Trace { packing, mut inputs }: Trace,
        gradient: Tensor<2>,
        into: &mut ModelGradients,
    ) -> Option<Tensor<2>> {
        let mut step = |input: Tensor<2>, gradient: Tensor<2>, forward: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let input = input.autodiff().require_grad();
            let mut gradients = pull_back(forward(input.clone()), gradient);
            into.collect(self, &mut gradients);
            input.grad_remove(&mut gradients)
        };
        let mut gradient = step(inputs.pop()?, gradient, &|x| pool(x, &packing))?;
        for layer in layers.iter().rev() {
            gradient = step(inputs.pop()?, gradient, &|x| layer.forward(x, &packing))?;
        }
        Some(gradient)
    }
}
