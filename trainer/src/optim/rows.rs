//! Adam for a table of which a batch touches few rows: 256,000 token embeddings of which a text batch reads some thousand.
//!
//! The result is dense Adam's. Under it a row without a gradient still moves, by what is left of its momentum; here these steps are taken
//! together, just before a batch reads the row again ([`RowMoments::settle`]). Until then, in checkpoints too, a row stays where its last
//! batch left it. A table is an embedding, so weight decay does not apply to it.
//!
//! Moments live on the host, as the rows of a batch come from there and device memory is dear.

use burn::prelude::*;
use burn::tensor::{IndexingUpdateOp, TensorData};

use super::OptimError;
use super::adam::{AdamRecipe, Update};
use crate::model::RowGradients;

/// Moments `[rows, width]` of a table, and when each row was last touched.
#[derive(Debug)]
pub struct RowMoments {
    width: usize,
    first: Vec<f32>,
    second: Vec<f32>,
    /// The step of the last update, counted from 1; 0 for never.
    touched: Vec<i32>,
}

impl RowMoments {
    /// Moments of a table with `values` numbers in rows of `width`.
    pub(super) fn zeros(values: usize, width: usize) -> Self {
        let rows = values.checked_div(width).unwrap_or(0);
        Self { width, first: vec![0.0; rows * width], second: vec![0.0; rows * width], touched: vec![0; rows] }
    }

    pub(super) fn from_values(first: Vec<f32>, second: Vec<f32>, touched: Vec<i32>) -> Result<Self, OptimError> {
        let width = first.len().checked_div(touched.len()).unwrap_or(0);
        if first.len() != second.len() || first.len() != width * touched.len() {
            return Err(OptimError::State(format!("a table of {} rows has {} and {} moments", touched.len(), first.len(), second.len())));
        }
        Ok(Self { width, first, second, touched })
    }

    /// First moments `[rows, width]`, as of each row's last update.
    pub fn first(&self) -> &[f32] {
        &self.first
    }

    /// Second moments `[rows, width]`, as of each row's last update.
    pub fn second(&self) -> &[f32] {
        &self.second
    }

    /// The step of each row's last update, counted from 1; 0 for never.
    pub fn touched(&self) -> &[i32] {
        &self.touched
    }

    /// The table after this step; `parameter` is flat.
    pub(super) fn step(&mut self, parameter: Tensor<1>, gradient: &RowGradients, update: &Update) -> Tensor<1> {
        let deltas = self.deltas(gradient, update);
        self.add(parameter, &gradient.ids, deltas)
    }

    /// The table with `rows` brought up to the last step.
    pub(super) fn settle(&mut self, parameter: Tensor<1>, rows: impl Iterator<Item = u32>, coasting: &Coasting<'_>) -> Tensor<1> {
        let (mut moved, mut deltas) = (Vec::new(), Vec::new());
        for row in rows {
            let span = row as usize * self.width..(row as usize + 1) * self.width;
            let state = (self.first.get_mut(span.clone()), self.second.get_mut(span), self.touched.get_mut(row as usize));
            let (Some(first), Some(second), Some(touched)) = state else { continue };
            // A row that no batch has read has no momentum.
            if *touched != 0 && *touched < coasting.updates as i32 {
                moved.push(row);
                deltas.extend(coasting.deltas(first, second, *touched));
                *touched = coasting.updates as i32;
            }
        }
        if moved.is_empty() { parameter } else { self.add(parameter, &moved, deltas) }
    }

    fn add(&self, parameter: Tensor<1>, rows: &[u32], deltas: Vec<f32>) -> Tensor<1> {
        let (count, device) = (rows.len(), parameter.device());
        let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
        let deltas = Tensor::<2>::from_data(TensorData::new(deltas, [count, self.width]), &device);
        let table = parameter.reshape([self.touched.len(), self.width]);
        table.select_assign(0, rows, deltas, IndexingUpdateOp::Add).reshape([self.touched.len() * self.width])
    }

    /// What to add to the gradient's rows; the moments advance.
    fn deltas(&mut self, gradient: &RowGradients, update: &Update) -> Vec<f32> {
        let mut deltas = Vec::with_capacity(gradient.values.len());
        for (row, values) in gradient.ids.iter().zip(gradient.values.chunks_exact(self.width)) {
            let span = *row as usize * self.width..(*row as usize + 1) * self.width;
            let state = (self.first.get_mut(span.clone()), self.second.get_mut(span), self.touched.get_mut(*row as usize));
            let (Some(first), Some(second), Some(touched)) = state else { continue };
            let missed = update.updates as i32 - *touched;
            *touched = update.updates as i32;
            let cells = first.iter_mut().zip(second).zip(values);
            deltas.extend(cells.map(|((first, second), gradient)| cell_delta(first, second, *gradient, missed, update)));
        }
        deltas
    }
}

/// The steps of rows without a gradient.
pub(super) struct Coasting<'a> {
    pub(super) adam: AdamRecipe,
    /// Steps taken.
    pub(super) updates: u64,
    /// Learning rate times schedule of the n-th step, counted from 1.
    pub(super) rate: &'a dyn Fn(u64) -> f64,
}

impl Coasting<'_> {
    /// What the steps after `touched` add to a row; its moments decay. After j of them a number has moved by
    /// Σ rate · β₁ʲ·m / c₁ / (√(β₂ʲ·v / c₂) + ε), c being the bias corrections of each step.
    fn deltas(&self, first: &mut [f32], second: &mut [f32], touched: i32) -> Vec<f32> {
        let AdamRecipe { beta1, beta2, epsilon, .. } = self.adam;
        let missed = self.updates as i32 - touched;
        let factors: Vec<(f64, f64)> = (1..=missed.min(COASTING_STEPS))
            .map(|j| {
                let corrections = (1.0 - beta1.powi(touched + j), 1.0 - beta2.powi(touched + j));
                ((self.rate)((touched + j) as u64) * beta1.powi(j) / corrections.0, (beta2.powi(j) / corrections.1).sqrt())
            })
            .collect();
        let moments = first.iter_mut().zip(second);
        moments
            .map(|(first, second)| {
                let (m, v) = (f64::from(*first), f64::from(*second).sqrt());
                (*first, *second) = ((m * beta1.powi(missed)) as f32, (f64::from(*second) * beta2.powi(missed)) as f32);
                -factors.iter().map(|(step, root)| step * m / (root * v + epsilon)).sum::<f64>() as f32
            })
            .collect()
    }
}

/// Longest coasting: (β₁/√β₂)ʲ, by which steps shrink, has left f32's reach long before.
const COASTING_STEPS: i32 = 1_000;

/// Adam on one number whose moments are `missed` steps old (1: updated in the step before).
fn cell_delta(first: &mut f32, second: &mut f32, gradient: f32, missed: i32, update: &Update) -> f32 {
    let adam = &update.adam;
    let (first_correction, second_correction) = update.bias_corrections();
    let gradient = f64::from(gradient) * update.clip;
    let first_now = f64::from(*first) * adam.beta1.powi(missed) + (1.0 - adam.beta1) * gradient;
    let second_now = f64::from(*second) * adam.beta2.powi(missed) + (1.0 - adam.beta2) * gradient * gradient;
    (*first, *second) = (first_now as f32, second_now as f32);
    let direction = first_now / first_correction / ((second_now / second_correction).sqrt() + adam.epsilon);
    (-direction * update.learning_rate * update.schedule) as f32
}
