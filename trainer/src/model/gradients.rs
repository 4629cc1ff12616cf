//! Gradients by parameter name, and the token table's by rows.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor};

use super::parameters::ParameterVisitor;
use super::{ModelError, Siglip, TOKEN_TABLE, TokenRows};

/// The gradient of a batch loss.
#[derive(Clone, Debug, Default)]
pub struct ModelGradients {
    /// By Hugging Face name; flattened row-major, on the model's device, outside any graph.
    pub dense: BTreeMap<String, Tensor<1>>,
    /// The token table's.
    pub tokens: RowGradients,
}

/// The gradient of a table of which few rows were used. Rows that are not listed have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowGradients {
    /// Rows, ascending.
    pub ids: Vec<u32>,
    /// Their gradients `[ids, width]`.
    pub values: Vec<f32>,
}

impl ModelGradients {
    /// Adds what `gradients` holds for the model's parameters, and removes it there.
    pub(crate) fn collect(&mut self, model: &Siglip, gradients: &mut Gradients) {
        model.visit_parameters(&mut Collect { into: &mut self.dense, gradients });
    }

    /// Adds the gradient of a batch's token rows.
    pub(crate) fn collect_tokens(&mut self, tokens: &TokenRows, gradients: &mut Gradients) -> Result<(), ModelError> {
        let Some(rows) = tokens.rows.grad_remove(gradients) else { return Ok(()) };
        self.tokens.add(&RowGradients { ids: tokens.ids.clone(), values: to_host(rows)? });
        Ok(())
    }

    /// Adds to the gradient of the parameter called `name`.
    pub(crate) fn add_dense(&mut self, name: &str, gradient: Tensor<1>) {
        add_named(&mut self.dense, name, gradient);
    }

    /// Multiplies every gradient by `factor`.
    pub fn scale(&mut self, factor: f64) {
        for gradient in self.dense.values_mut() {
            *gradient = gradient.extract().mul_scalar(factor);
        }
        self.tokens.values.iter_mut().for_each(|value| *value *= factor as f32);
    }

    /// Adds another batch's gradient.
    pub fn add(&mut self, other: Self) {
        for (name, gradient) in other.dense {
            add_named(&mut self.dense, &name, gradient);
        }
        self.tokens.add(&other.tokens);
    }
}

struct Collect<'a> {
    into: &'a mut BTreeMap<String, Tensor<1>>,
    gradients: &'a mut Gradients,
}

impl ParameterVisitor for Collect<'_> {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Tensor<D>) {
        if name == TOKEN_TABLE {
            return;
        }
        if let Some(gradient) = parameter.grad_remove(self.gradients) {
            let len = gradient.shape().num_elements();
            add_named(self.into, name, gradient.reshape([len]));
        }
    }
}

fn add_named(into: &mut BTreeMap<String, Tensor<1>>, name: &str, gradient: Tensor<1>) {
    let sum = match into.remove(name) {
        Some(so_far) => so_far + gradient,
        None => gradient,
    };
    into.insert(name.to_owned(), sum);
}

impl RowGradients {
    /// Adds another gradient of the same table.
    pub fn add(&mut self, other: &Self) {
        let Some(width) = other.values.len().checked_div(other.ids.len()) else { return };
        let mut rows: BTreeMap<u32, Vec<f32>> =
            self.ids.iter().copied().zip(self.values.chunks(width.max(1)).map(<[f32]>::to_vec)).collect();
        for (&id, row) in other.ids.iter().zip(other.values.chunks(width.max(1))) {
            let sum = rows.entry(id).or_insert_with(|| vec![0.0; width]);
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        self.ids = rows.keys().copied().collect();
        self.values = rows.into_values().flatten().collect();
    }
}

/// A tensor's values on the host.
pub(crate) fn to_host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    let data = tensor.try_into_data().map_err(|error| ModelError::Device(error.to_string()))?;
    data.try_into_vec::<f32>().map_err(|error| ModelError::Device(format!("{error:?}")))
}
