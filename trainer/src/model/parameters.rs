//! Parameters by name. A parameter's path in the module is its Hugging Face name, without a table of names.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::{ModelError, Siglip};

/// The one parameter that stays on the host and whose gradient comes by rows.
pub const TOKEN_TABLE: &str = "text_model.embeddings.token_embedding.weight";

/// Reads parameters.
pub trait ParameterVisitor {
    /// Called once for every parameter with its Hugging Face name. Shapes are Hugging Face's, except for a fixed-resolution model's patch
    /// embedding, which is `[width, patch · patch · 3]` in (py, px, channel) order here.
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Tensor<D>);
}

/// Replaces parameters.
pub trait ParameterMapper {
    /// Called once for every parameter. The result has the same shape; whether it records gradients is kept from the old one.
    fn map<const D: usize>(&mut self, name: &str, parameter: Tensor<D>) -> Tensor<D>;
}

impl Siglip {
    /// Shows every parameter to `visitor`.
    pub fn visit_parameters(&self, visitor: &mut impl ParameterVisitor) {
        self.visit(&mut Named { path: Vec::new(), inner: visitor });
    }

    /// Replaces every parameter.
    #[must_use]
    pub fn map_parameters(self, mapper: &mut impl ParameterMapper) -> Self {
        self.map(&mut Named { path: Vec::new(), inner: mapper })
    }
}

/// Follows burn's walk through the modules and joins field names.
struct Named<'a, T> {
    path: Vec<String>,
    inner: &'a mut T,
}

impl<T: ParameterVisitor> ModuleVisitor for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.inner.visit(&self.path.join("."), &parameter.val());
    }
}

impl<T: ParameterMapper> ModuleMapper for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        parameter.map(|tensor| {
            let records = tensor.is_require_grad();
            let new = self.inner.map(&name, tensor).detach();
            if records { new.require_grad() } else { new }
        })
    }
}

/// Fills parameters from values found by name; keeps the first error.
pub(super) struct Fill<F> {
    /// Values of a parameter of this name and shape.
    pub(super) values: F,
    /// What went wrong first.
    pub(super) error: Option<ModelError>,
}

impl<F: FnMut(&str, &[usize]) -> Result<Vec<f32>, ModelError>> ParameterMapper for Fill<F> {
    fn map<const D: usize>(&mut self, name: &str, parameter: Tensor<D>) -> Tensor<D> {
        if self.error.is_some() {
            return parameter;
        }
        let shape = parameter.dims();
        match (self.values)(name, &shape) {
            Ok(values) => on_device(values, shape, &parameter.device()),
            Err(error) => {
                self.error = Some(error);
                parameter
            }
        }
    }
}

fn on_device<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
