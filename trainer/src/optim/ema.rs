//! An exponential moving average of the parameters: what is often evaluated and shipped instead of the last step's.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::TensorData;

use super::{OptimError, Parameters};

/// The average of every parameter, flat, on the parameters' device.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    average: BTreeMap<String, Tensor<1>>,
}

impl Ema {
    /// Starts at the parameters' present values, so that no bias needs correcting.
    pub fn new(decay: f64, parameters: &mut impl Parameters) -> Self {
        let mut average = BTreeMap::new();
        parameters.update(&mut |name, parameter| {
            average.insert(name.to_owned(), parameter.clone());
            parameter
        });
        Self { decay, average }
    }

    /// average ← decay · average + (1 − decay) · parameter.
    pub fn follow(&mut self, parameters: &mut impl Parameters) {
        parameters.update(&mut |name, parameter| {
            if let Some(average) = self.average.get_mut(name) {
                *average = average.extract().mul_scalar(self.decay) + parameter.clone().mul_scalar(1.0 - self.decay);
            }
            parameter
        });
    }

    /// Puts the averages into `parameters`, usually a copy of the model.
    pub fn apply(&self, parameters: &mut impl Parameters) {
        parameters.update(&mut |name, parameter| self.average.get(name).cloned().unwrap_or(parameter));
    }

    /// Takes one average over from a checkpoint.
    ///
    /// # Errors
    /// The name is unknown or the length differs.
    pub fn load(&mut self, name: &str, values: Vec<f32>, device: &Device) -> Result<(), OptimError> {
        let len = values.len();
        match self.average.get_mut(name) {
            Some(average) if average.dims()[0] == len => {
                *average = Tensor::from_data(TensorData::new(values, [len]), device);
                Ok(())
            }
            Some(average) => Err(OptimError::State(format!("the average of {name} has {len} values, the model {}", average.dims()[0]))),
            None => Err(OptimError::State(format!("the average of {name} belongs to no parameter"))),
        }
    }
}
