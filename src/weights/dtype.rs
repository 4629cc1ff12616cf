//! The three number formats checkpoints come in, and their conversion to f32.

use std::borrow::Cow;
use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE single precision; what the released checkpoints use.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Dtype {
    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Little-endian bytes as f32, borrowed where they already are aligned f32. A partial number at the end is dropped.
    pub(crate) fn decode(self, bytes: Cow<'_, [u8]>) -> Cow<'_, [f32]> {
        match bytes {
            Cow::Borrowed(bytes) => self.view(bytes).map_or_else(|| Cow::Owned(self.converted(bytes)), Cow::Borrowed),
            Cow::Owned(bytes) => Cow::Owned(self.converted(&bytes)),
        }
    }

    fn view(self, bytes: &[u8]) -> Option<&[f32]> {
        (self == Self::F32 && cfg!(target_endian = "little")).then(|| bytemuck::try_cast_slice(bytes).ok()).flatten()
    }

    fn converted(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / self.size()];
        self.decode_into(bytes, &mut values);
        values
    }

    /// Fills `values` from little-endian `bytes` of the same count.
    fn decode_into(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F32 => {
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Self::F16 => decode_halves(bytes, values, f16::from_le_bytes, |halves, values| halves.convert_to_f32_slice(values)),
            Self::Bf16 => decode_halves(bytes, values, bf16::from_le_bytes, |halves, values| halves.convert_to_f32_slice(values)),
        }
    }
}

/// Goes through a small buffer because mapped bytes may be unaligned, and `half` only vectorises slices.
fn decode_halves<T: Copy + Default>(bytes: &[u8], values: &mut [f32], parse: fn([u8; 2]) -> T, convert: fn(&[T], &mut [f32])) {
    let mut buffer = [T::default(); 512];
    for (bytes, values) in bytes.as_chunks().0.chunks(buffer.len()).zip(values.chunks_mut(buffer.len())) {
        for (half, bytes) in buffer.iter_mut().zip(bytes) {
            *half = parse(*bytes);
        }
        let count = values.len().min(bytes.len());
        if let (Some(halves), Some(values)) = (buffer.get(..count), values.get_mut(..count)) {
            convert(halves, values);
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}
