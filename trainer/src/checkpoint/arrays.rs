//! The optimiser's arrays in one safetensors file, which any tool can inspect.

use std::collections::BTreeMap;
use std::path::Path;

use polyglance::weights::{OutputTensor, OutputValues, write_safetensors};
use safetensors::{Dtype, SafeTensors};

use super::CheckpointError;
use crate::optim::StateValues;

/// Writes `arrays`, each as one row.
///
/// # Errors
/// The disk is full or refuses.
pub fn write_arrays(path: &Path, arrays: &BTreeMap<String, StateValues>) -> Result<(), CheckpointError> {
    let tensors: Vec<_> = arrays.iter().map(|(name, values)| output(name, values)).collect();
    write_safetensors(path, &tensors, &BTreeMap::new()).map_err(|error| CheckpointError::Fill { what: "optimiser", source: error.into() })
}

fn output<'a>(name: &str, values: &'a StateValues) -> OutputTensor<'a> {
    let (len, values) = match values {
        StateValues::F32(values) => (values.len(), OutputValues::F32(values)),
        StateValues::I32(values) => (values.len(), OutputValues::I32(values)),
    };
    OutputTensor { name: name.to_owned(), shape: vec![len], values }
}

/// Reads what [`write_arrays`] wrote.
///
/// # Errors
/// The file cannot be read, is no safetensors file or holds another type of number.
pub fn read_arrays(path: &Path) -> Result<BTreeMap<String, StateValues>, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::Io { action: "read", path: path.to_owned(), source })?;
    let content = |reason: String| CheckpointError::Content { path: path.to_owned(), reason };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| content(error.to_string()))?;
    let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let words = view.data().as_chunks::<4>().0.iter();
        let values = match view.dtype() {
            Dtype::F32 => StateValues::F32(words.map(|word| f32::from_le_bytes(*word)).collect()),
            Dtype::I32 => StateValues::I32(words.map(|word| i32::from_le_bytes(*word)).collect()),
            other => return Err(content(format!("{name} is of type {other:?}"))),
        };
        Ok((name, values))
    };
    tensors.tensors().into_iter().map(read).collect()
}
