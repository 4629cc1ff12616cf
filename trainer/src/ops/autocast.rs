//! Products in less than single precision, as `torch.autocast` and big_vision's `dtype_mm` have them: operands are rounded, results are
//! single precision again. Norms, softmax, GELU, sums over a batch, weights and moments always are.

use std::cell::Cell;

use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// What the operands of products are rounded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Products {
    /// Not rounded.
    #[default]
    F32,
    /// 8 bits of precision, the range of f32.
    Bf16,
    /// 11 bits of precision, a range of 6e-8 to 65,504: gradients are scaled to fit into it.
    F16,
}

thread_local! {
    static IN_USE: Cell<Products> = const { Cell::new(Products::F32) };
}

impl Products {
    fn dtype(self) -> Option<FloatDType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(FloatDType::BF16),
            Self::F16 => Some(FloatDType::F16),
        }
    }

    /// Whether `device` has such numbers. Flex has all, but gains no speed: its products are f32 after rounding.
    pub fn fits(self, device: &Device) -> bool {
        self.dtype().is_none_or(|dtype| device.supports_dtype(dtype))
    }

    /// Runs `work`, in which [`linear`](super::linear) and, on GPUs, attention multiply so. Backward passes follow what was recorded.
    pub(crate) fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(Products);
        impl Drop for Restore {
            fn drop(&mut self) {
                IN_USE.set(self.0);
            }
        }
        let _restore = Restore(IN_USE.replace(self));
        work()
    }

    /// What the scope around the caller says.
    pub(super) fn in_use() -> Self {
        IN_USE.get()
    }

    /// a·b, from single precision to single precision.
    pub(super) fn matmul<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self.dtype() {
            Some(dtype) => a.cast(dtype).matmul(b.cast(dtype)).cast(FloatDType::F32),
            None => a.matmul(b),
        }
    }
}
