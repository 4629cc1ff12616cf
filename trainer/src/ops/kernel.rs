//! How a kernel of ours becomes a differentiable operation on flex.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{Device, Tensor, TensorData};

/// A tensor of flex without a graph.
type Plain = FloatTensor<Flex>;
/// A tensor of flex with its place in a graph.
pub(super) type Recorded = FloatTensor<Autodiff<Flex>>;

/// A function of N matrices or vectors, each contiguous; the output has the rows of the first.
pub(super) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// The output.
    fn forward(&self, inputs: [&[f32]; N]) -> Vec<f32>;

    /// Gradients of the inputs from that of the output. Those that are not `wanted` are dropped unread.
    fn backward(&self, inputs: [&[f32]; N], gradient: &[f32], wanted: [bool; N]) -> [Vec<f32>; N];
}

/// Whether a tensor's device is flex, with or without autodiff.
pub(crate) fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

/// A tensor as a kernel's input; `None` if it is not on flex or carries burn's own checkpointing.
pub(super) fn recorded<const D: usize>(tensor: &Tensor<D>) -> Option<Recorded> {
    if !is_flex(&tensor.device()) {
        return None;
    }
    tensor.clone().autodiff().try_into_primitive::<Autodiff<Flex>>().ok()
}

/// A kernel's output with or without a graph, as `like` is.
pub(super) fn restored<const D: usize>(output: Recorded, like: &Tensor<D>) -> Tensor<D> {
    let output = Tensor::from_primitive::<Autodiff<Flex>>(output);
    if like.is_autodiff() { output } else { output.without_autodiff() }
}

/// Runs a kernel and records it.
pub(super) fn apply<K: Kernel<N>, const N: usize>(kernel: K, inputs: [Recorded; N]) -> Recorded {
    let (mut values, mut guards) = (Vec::with_capacity(N), Vec::with_capacity(N));
    for input in inputs {
        let (value, guard) = input.into_parts();
        values.push(if value.as_slice::<f32>().is_some() { value } else { value.to_contiguous() });
        guards.push(guard);
    }
    let (Ok(values), Ok(guards)) = (<[Plain; N]>::try_from(values), <[_; N]>::try_from(guards)) else {
        unreachable!("both have N entries");
    };
    let output = rows(kernel.forward(slices(&values)), &values[0]);
    match Step::<K, N>(std::marker::PhantomData).prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish((kernel, values), output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}

fn slices<const N: usize>(values: &[Plain; N]) -> [&[f32]; N] {
    values.each_ref().map(|value| value.as_slice::<f32>().unwrap_or_default())
}

/// A tensor with as many rows as `like`.
fn rows(values: Vec<f32>, like: &Plain) -> Plain {
    let mut shape = like.shape();
    let last = shape.num_dims() - 1;
    shape[last] = 1;
    shape[last] = values.len() / shape.num_elements().max(1);
    Flex::float_from_data(TensorData::new(values, shape), &like.device())
}

fn tensor(values: Vec<f32>, like: &Plain) -> Plain {
    Flex::float_from_data(TensorData::new(values, like.shape()), &like.device())
}

#[derive(Debug)]
struct Step<K, const N: usize>(std::marker::PhantomData<K>);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K, N> {
    type State = (K, [Plain; N]);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (kernel, inputs) = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let gradient = if gradient.as_slice::<f32>().is_some() { gradient } else { gradient.to_contiguous() };
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let results = kernel.backward(slices(&inputs), gradient.as_slice::<f32>().unwrap_or_default(), wanted);
        for ((parent, result), input) in ops.parents.into_iter().zip(results).zip(&inputs) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, tensor(result, input));
            }
        }
    }
}
