//! An exponential moving average of the parameters: what is often evaluated and shipped instead of the last step's.

use std::collections::BTreeMap;

use burn::prelude::*;

use super::{map_flat, visit_flat};
use crate::model::Siglip;

/// The average of every parameter, flat, on the parameters' device.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    average: BTreeMap<String, Tensor<1>>,
}

impl Ema {
    /// Starts at the parameters' present values, so that no bias needs correcting.
    pub fn new(decay: f64, model: &Siglip) -> Self {
        let mut average = BTreeMap::new();
        visit_flat(model, |name, parameter| drop(average.insert(name.to_owned(), parameter)));
        Self { decay, average }
    }

    /// average ← decay · average + (1 − decay) · parameter.
    pub fn follow(&mut self, model: &Siglip) {
        visit_flat(model, |name, parameter| {
            if let Some(average) = self.average.get_mut(name) {
                *average = average.extract().mul_scalar(self.decay) + parameter.mul_scalar(1.0 - self.decay);
            }
        });
    }

    /// A model with the averages in place of the parameters.
    pub fn averaged(&self, model: &Siglip) -> Siglip {
        map_flat(model.clone(), |name, parameter| self.average.get(name).cloned().unwrap_or(parameter))
    }

    /// Goes on from another's averages, which a checkpoint kept as a model.
    pub fn load(&mut self, averaged: &Siglip) {
        visit_flat(averaged, |name, parameter| drop(self.average.insert(name.to_owned(), parameter)));
    }
}
