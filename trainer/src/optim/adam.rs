//! Adam (Kingma and Ba 2015) as optax's `scale_by_adam` computes it, for a parameter whose gradient is dense.

use burn::prelude::*;
use burn::tensor::{DType, FloatDType, TensorData};
use serde::{Deserialize, Serialize};

use super::OptimError;
use super::norm::read;

/// How first moments are stored. They are computed in f32 either way, and an update uses the f32 value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstMoment {
    /// Single precision.
    #[default]
    F32,
    /// Half the memory, as big_vision often trains; the device must store bf16.
    Bf16,
}

impl FirstMoment {
    fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Whether `device` can store it.
    pub fn fits(self, device: &Device) -> bool {
        self == Self::F32 || device.supports_dtype(DType::BF16)
    }
}

/// Adam's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamRecipe {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// How the first moment is stored.
    pub first_moment: FirstMoment,
}

impl Default for AdamRecipe {
    /// optax's.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, first_moment: FirstMoment::F32 }
    }
}

/// All that one step applies to one parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    pub(super) adam: AdamRecipe,
    /// Steps taken, this one included.
    pub(super) updates: u64,
    /// Factor on the gradient.
    pub(super) clip: f64,
    /// Multiplier included, schedule not.
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    pub(super) schedule: f64,
}

impl Update {
    /// 1 − βᵗ for both moments.
    pub(super) fn bias_corrections(&self) -> (f64, f64) {
        let t = self.updates as f64;
        (1.0 - self.adam.beta1.powf(t), 1.0 - self.adam.beta2.powf(t))
    }
}

/// Both moments of a parameter, flattened, on its device.
#[derive(Debug)]
pub(super) struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
    storage: FirstMoment,
}

impl Moments {
    pub(super) fn zeros(like: &Tensor<1>, storage: FirstMoment) -> Self {
        Self { first: like.zeros_like().cast(storage.dtype()), second: like.zeros_like(), storage }
    }

    /// The parameter after this step.
    pub(super) fn step(&mut self, parameter: Tensor<1>, gradient: Tensor<1>, update: &Update) -> Tensor<1> {
        let Update { adam, clip, learning_rate, weight_decay, schedule, .. } = *update;
        let (first_correction, second_correction) = update.bias_corrections();
        let gradient = if clip == 1.0 { gradient } else { gradient.mul_scalar(clip) };
        let second = self.second.extract().mul_scalar(adam.beta2) + gradient.clone().square().mul_scalar(1.0 - adam.beta2);
        let first = self.first.extract().cast(FloatDType::F32).mul_scalar(adam.beta1) + gradient.mul_scalar(1.0 - adam.beta1);
        self.second = second.clone();
        self.first = first.clone().cast(self.storage.dtype());
        let root = second.div_scalar(second_correction).sqrt().add_scalar(adam.epsilon);
        let direction = first.div(root).mul_scalar(learning_rate / first_correction);
        let direction = if weight_decay == 0.0 { direction } else { direction + parameter.clone().mul_scalar(weight_decay) };
        parameter - direction.mul_scalar(schedule)
    }

    /// First and second moments as f32.
    pub(super) fn values(&self) -> Result<(Vec<f32>, Vec<f32>), OptimError> {
        Ok((read(&self.first)?, read(&self.second)?))
    }

    pub(super) fn from_values(first: Vec<f32>, second: Vec<f32>, storage: FirstMoment, device: &Device) -> Result<Self, OptimError> {
        if first.len() != second.len() {
            return Err(OptimError::State(format!("moments of {} and {} values", first.len(), second.len())));
        }
        let upload = |values: Vec<f32>| {
            let len = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [len]), device)
        };
        Ok(Self { first: upload(first).cast(storage.dtype()), second: upload(second), storage })
    }
}
