//! Gradients by parameter name: dense ones on the device, those of tables as rows on the host.

use std::collections::BTreeMap;

use burn::prelude::*;

use super::OptimError;

/// Values that one sum on the device covers. burn's flex adds longer tensors in an order that differs between runs.
const SUM_PIECE: usize = 1 << 21;

/// The gradient of a table: only rows that are not zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowGradient {
    /// Ascending, each once.
    rows: Vec<u32>,
    /// `[rows, width]`.
    values: Vec<f32>,
    width: usize,
}

impl RowGradient {
    /// Sums `values` `[rows.len(), width]` by row; rows may repeat and come in any order.
    pub fn new(rows: &[u32], values: &[f32], width: usize) -> Self {
        let mut sums = BTreeMap::new();
        for (row, values) in rows.iter().zip(values.chunks_exact(width.max(1))) {
            let sum: &mut Vec<f32> = sums.entry(*row).or_insert_with(|| vec![0.0; width]);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        let values = sums.values().flatten().copied().collect();
        Self { rows: sums.into_keys().collect(), values, width }
    }

    /// Row indices, ascending.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// `[rows, width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows with their values.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[f32])> {
        self.rows.iter().copied().zip(self.values.chunks_exact(self.width.max(1)))
    }

    fn add(&mut self, other: &Self) {
        let rows: Vec<u32> = self.rows.iter().chain(&other.rows).copied().collect();
        let values: Vec<f32> = self.values.iter().chain(&other.values).copied().collect();
        *self = Self::new(&rows, &values, self.width.max(other.width));
    }
}

/// One gradient per parameter that has any.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    dense: BTreeMap<String, Tensor<1>>,
    rows: BTreeMap<String, RowGradient>,
}

impl Gradients {
    /// Adds a parameter's gradient, of any shape, without automatic differentiation.
    pub fn insert<const D: usize>(&mut self, name: &str, gradient: Tensor<D>) {
        let values = gradient.shape().num_elements();
        self.add_dense(name, gradient.reshape([values]));
    }

    /// Adds a table's gradient.
    pub fn insert_rows(&mut self, name: &str, gradient: RowGradient) {
        match self.rows.get_mut(name) {
            Some(sum) => sum.add(&gradient),
            None => drop(self.rows.insert(name.to_owned(), gradient)),
        }
    }

    fn add_dense(&mut self, name: &str, gradient: Tensor<1>) {
        let sum = match self.dense.remove(name) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        self.dense.insert(name.to_owned(), sum);
    }

    /// Adds those of another micro-batch.
    pub fn accumulate(&mut self, other: Self) {
        other.dense.into_iter().for_each(|(name, gradient)| self.add_dense(&name, gradient));
        other.rows.into_iter().for_each(|(name, gradient)| self.insert_rows(&name, gradient));
    }

    /// Multiplies all by `factor`.
    pub fn scale(&mut self, factor: f64) {
        for gradient in self.dense.values_mut() {
            *gradient = gradient.extract().mul_scalar(factor);
        }
        self.rows.values_mut().flat_map(|gradient| &mut gradient.values).for_each(|value| *value *= factor as f32);
    }

    /// Names of the parameters that have one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.dense.keys().chain(self.rows.keys()).map(String::as_str)
    }

    /// Drops the gradients of parameters that `keep` refuses.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.dense.retain(|name, _| keep(name));
        self.rows.retain(|name, _| keep(name));
    }

    /// A dense gradient, flat.
    pub fn dense(&self, name: &str) -> Option<&Tensor<1>> {
        self.dense.get(name)
    }

    /// A table's gradient.
    pub fn rows(&self, name: &str) -> Option<&RowGradient> {
        self.rows.get(name)
    }

    pub(super) fn take_dense(&mut self, name: &str) -> Option<Tensor<1>> {
        self.dense.remove(name)
    }

    pub(super) fn take_rows(&mut self, name: &str) -> Option<RowGradient> {
        self.rows.remove(name)
    }

    /// ‖g‖₂ over all parameters; one transfer from the device.
    ///
    /// # Errors
    /// [`OptimError::NotFinite`] names a parameter whose gradient holds infinity or NaN, or overflows when squared.
    pub fn global_norm(&self) -> Result<f64, OptimError> {
        let pieces = |gradient: &Tensor<1>| gradient.dims()[0].div_ceil(SUM_PIECE);
        let sums: Vec<_> = self.dense.values().flat_map(squares).collect();
        let sums = if sums.is_empty() {
            Vec::new()
        } else {
            Tensor::cat(sums, 0).try_into_vec_as::<f32>().map_err(|error| OptimError::Device(error.to_string()))?
        };
        let names = self.dense.iter().flat_map(|(name, gradient)| std::iter::repeat_n(name, pieces(gradient)));
        let dense = names.zip(sums.iter().map(|sum| f64::from(*sum)));
        let rows = self.rows.iter().map(|(name, gradient)| (name, gradient.values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>()));
        let mut total = 0.0;
        for (name, square) in dense.chain(rows) {
            if !square.is_finite() {
                return Err(OptimError::NotFinite(name.clone()));
            }
            total += square;
        }
        Ok(total.sqrt())
    }
}

/// Sums of squares of a gradient's pieces, one value each.
fn squares(gradient: &Tensor<1>) -> Vec<Tensor<1>> {
    gradient.clone().split(SUM_PIECE, 0).into_iter().map(|piece| piece.square().sum()).collect()
}
