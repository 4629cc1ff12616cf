//! Checkpoint folders: any layout that the library reads, and one that the library and `transformers` both load.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use half::f16;
use polyglance::config::{ModelConfig, VisionGeometry};
use polyglance::platform::block_on;
use polyglance::weights::{Checkpoint, OutputTensor, OutputValues, expected_tensors, write_companions, write_safetensors};

use super::gradients::to_host;
use super::parameters::{Fill, ParameterVisitor};
use super::{ModelError, Siglip};

/// A tensor on the host, in Hugging Face's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedValues {
    /// Hugging Face name.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Vec<f32>,
}

/// How a folder is written.
#[derive(Clone, Debug, Default)]
pub struct Export {
    /// How numbers are stored.
    pub precision: ExportPrecision,
    /// A folder whose tokenizer and image processor files are copied, if it has them.
    pub source: Option<PathBuf>,
}

/// How an exported model stores its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportPrecision {
    /// Single precision: exactly the trained numbers.
    #[default]
    F32,
    /// Half precision. The loss's two scalars are stored so too, as `transformers` does.
    F16,
}

const PATCH_WEIGHT: &str = "vision_model.embeddings.patch_embedding.weight";

impl Siglip {
    /// Builds the model of an opened checkpoint. With [`Device::autodiff`] its parameters record gradients.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self, ModelError> {
        let config = *checkpoint.config();
        Self::filled(&config, device, |name| Ok(block_on(checkpoint.read(name))?.into_owned()))
    }

    /// Builds a model from tensors in Hugging Face's layout.
    ///
    /// # Errors
    /// A tensor is missing or has another shape than the configuration asks for.
    pub fn from_values(config: &ModelConfig, tensors: Vec<NamedValues>, device: &Device) -> Result<Self, ModelError> {
        let mut tensors: HashMap<String, NamedValues> = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        for spec in expected_tensors(config) {
            let found = tensors.get(&spec.name).map(|tensor| tensor.shape.clone());
            if found.as_ref() != Some(&spec.shape) {
                return Err(ModelError::Tensor { name: spec.name, expected: spec.shape, found });
            }
        }
        Self::filled(config, device, |name| Ok(tensors.remove(name).map(|tensor| tensor.values).unwrap_or_default()))
    }

    fn filled(
        config: &ModelConfig,
        device: &Device,
        mut read: impl FnMut(&str) -> Result<Vec<f32>, ModelError>,
    ) -> Result<Self, ModelError> {
        let mut fill = Fill {
            values: |name: &str, shape: &[usize]| {
                let values = read(name)?;
                if values.len() != shape.iter().product::<usize>() {
                    return Err(ModelError::Tensor { name: name.to_owned(), expected: shape.to_vec(), found: Some(vec![values.len()]) });
                }
                Ok(if name == PATCH_WEIGHT { packed_patches(config, values) } else { values })
            },
            error: None,
        };
        let model = Self::zeros(config, device).map_parameters(&mut fill);
        fill.error.map_or(Ok(model), Err)
    }

    /// Every parameter on the host in Hugging Face's layout, in the order of [`expected_tensors`].
    ///
    /// # Errors
    /// The device fails.
    pub fn to_values(&self) -> Result<Vec<NamedValues>, ModelError> {
        let mut read = ReadBack { tensors: HashMap::new(), error: None };
        self.visit_parameters(&mut read);
        if let Some(error) = read.error {
            return Err(error);
        }
        let tensors = expected_tensors(self.config()).into_iter().map(|spec| {
            let values = read.tensors.remove(&spec.name).unwrap_or_default();
            let values = if spec.name == PATCH_WEIGHT { convolution_patches(self.config(), values) } else { values };
            NamedValues { name: spec.name, shape: spec.shape, values }
        });
        Ok(tensors.collect())
    }

    /// Writes a folder that the library and `transformers` load: see [`write_folder`].
    ///
    /// # Errors
    /// As [`write_folder`], or the device fails.
    pub fn save(&self, folder: &Path, export: &Export) -> Result<(), ModelError> {
        write_folder(folder, self.config(), &self.to_values()?, export)
    }
}

struct ReadBack {
    tensors: HashMap<String, Vec<f32>>,
    error: Option<ModelError>,
}

impl ParameterVisitor for ReadBack {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Tensor<D>) {
        match to_host(parameter.clone()) {
            Ok(values) => drop(self.tensors.insert(name.to_owned(), values)),
            Err(error) => self.error = Some(error),
        }
    }
}

/// Writes `config.json`, `preprocessor_config.json` and `model.safetensors` into a folder that exists, each file whole or not at all, and
/// copies the source's tokenizer.
///
/// # Errors
/// The folder refuses, or a value exceeds the precision.
pub fn write_folder(folder: &Path, config: &ModelConfig, tensors: &[NamedValues], export: &Export) -> Result<(), ModelError> {
    // transformers refuses files that do not say which framework wrote them.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = folder.join("model.safetensors");
    match export.precision {
        ExportPrecision::F32 => {
            let outputs: Vec<_> = tensors.iter().map(|tensor| output(tensor, OutputValues::F32(&tensor.values))).collect();
            write_safetensors(&path, &outputs, &metadata)?;
        }
        ExportPrecision::F16 => {
            let halves = tensors.iter().map(halved).collect::<Result<Vec<_>, _>>()?;
            let outputs: Vec<_> = tensors.iter().zip(&halves).map(|(tensor, halves)| output(tensor, OutputValues::F16(halves))).collect();
            write_safetensors(&path, &outputs, &metadata)?;
        }
    }
    let dtype = if export.precision == ExportPrecision::F16 { "float16" } else { "float32" };
    Ok(write_companions(folder, config, dtype, export.source.as_deref())?)
}

fn output<'a>(tensor: &NamedValues, values: OutputValues<'a>) -> OutputTensor<'a> {
    OutputTensor { name: tensor.name.clone(), shape: tensor.shape.clone(), values }
}

fn halved(tensor: &NamedValues) -> Result<Vec<f16>, ModelError> {
    let magnitude = tensor.values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    if f16::from_f32(magnitude).is_infinite() {
        return Err(ModelError::Overflow { name: tensor.name.clone(), magnitude });
    }
    Ok(tensor.values.iter().map(|&value| f16::from_f32(value)).collect())
}

/// A fixed-resolution model's convolution `[width, 3, patch, patch]` as rows in (py, px, channel) order; a NaFlex model's rows as they are.
fn packed_patches(config: &ModelConfig, values: Vec<f32>) -> Vec<f32> {
    swap_channels(config, values, |area| (3, area))
}

/// The inverse of [`packed_patches`].
fn convolution_patches(config: &ModelConfig, values: Vec<f32>) -> Vec<f32> {
    swap_channels(config, values, |area| (area, 3))
}

/// Transposes every patch of a fixed-resolution model from `[rows, cols]`.
fn swap_channels(config: &ModelConfig, values: Vec<f32>, shape: impl Fn(usize) -> (usize, usize)) -> Vec<f32> {
    if !matches!(config.vision.geometry, VisionGeometry::Fixed { .. }) {
        return values;
    }
    let (rows, cols) = shape(config.vision.patch_size * config.vision.patch_size);
    let transposed = |patch: &[f32]| (0..rows * cols).map(|i| patch[i % rows * cols + i / rows]).collect::<Vec<_>>();
    values.chunks_exact(rows * cols).flat_map(transposed).collect()
}
