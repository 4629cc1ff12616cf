//! Sizes of gradients: the global norm that clipping goes by, and that tells whether every number is finite.

use burn::prelude::*;

use super::OptimError;
use crate::model::{ModelGradients, TOKEN_TABLE};

/// Values that one sum on the device covers. burn's flex adds longer tensors in an order that differs between runs.
const SUM_PIECE: usize = 1 << 21;

/// ‖g‖₂ over all parameters; one transfer from the device.
///
/// # Errors
/// [`OptimError::NotFinite`] names a parameter whose gradient holds infinity or NaN, or overflows when squared.
pub fn global_norm(gradients: &ModelGradients) -> Result<f64, OptimError> {
    let pieces: Vec<_> =
        gradients.dense.iter().flat_map(|(name, gradient)| squares(gradient).into_iter().map(move |sum| (name, sum))).collect();
    let (names, sums): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
    let sums = if sums.is_empty() { Vec::new() } else { read(&Tensor::cat(sums, 0))? };
    let dense = names.into_iter().map(String::as_str).zip(sums.into_iter().map(f64::from));
    let tokens = gradients.tokens.values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    let mut total = 0.0;
    for (name, square) in dense.chain([(TOKEN_TABLE, tokens)]) {
        if !square.is_finite() {
            return Err(OptimError::NotFinite(name.to_owned()));
        }
        total += square;
    }
    Ok(total.sqrt())
}

/// Sums of squares of a gradient's pieces, one value each.
fn squares(gradient: &Tensor<1>) -> Vec<Tensor<1>> {
    gradient.clone().split(SUM_PIECE, 0).into_iter().map(|piece| piece.square().sum()).collect()
}

pub(super) fn read(tensor: &Tensor<1>) -> Result<Vec<f32>, OptimError> {
    tensor.try_to_vec_as::<f32>().map_err(|error| OptimError::Device(error.to_string()))
}
