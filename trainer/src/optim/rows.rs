//! Adam for a table of which a batch touches few rows: 256,000 token embeddings of which a text batch reads some thousand.
//!
//! The moments of a touched row are exactly dense Adam's: decays that it missed while its gradient was zero are caught up by powers of β.
//! What is left out are dense Adam's parameter steps on rows without a gradient, in which the old momentum runs on: a row moves only
//! when its token was read. (`torch.optim.SparseAdam` differs in that it also skips the missed decays.) A table is an embedding, so weight decay does not apply to it.
//!
//! Moments live on the host, as the rows of a batch come from there and device memory is dear.

use burn::prelude::*;
use burn::tensor::{IndexingUpdateOp, TensorData};

use super::adam::Update;
use super::OptimError;
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
        let (count, device) = (gradient.ids.len(), parameter.device());
        let rows: Vec<i32> = gradient.ids.iter().map(|row| *row as i32).collect();
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
