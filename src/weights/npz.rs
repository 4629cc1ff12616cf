//! numpy's `.npz`: a zip archive of `.npy` arrays. Only the headers are read here.

use super::array::{Array, NamedSource, Packing, element_count};
use super::inflate::inflate;
use super::zip::{Content, Entry, read_directory};
use super::{Dtype, WeightsError};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest `.npy` header that is read. numpy writes 118 bytes for any array of numbers.
const HEADER_BYTES: u64 = 4096;

/// The arrays of the archive whose name (without `.npy`) `wanted` accepts, and the names of all others.
pub(crate) async fn read_arrays(
    file: &NamedSource,
    file_index: usize,
    wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<(String, Array)>, Vec<String>), WeightsError> {
    let (mut arrays, mut others) = (Vec::new(), Vec::new());
    for entry in read_directory(file).await? {
        let name = entry.name.strip_suffix(".npy").unwrap_or(&entry.name);
        if wanted(name) {
            let array = read_array(file, file_index, &entry).await?;
            arrays.push((name.to_owned(), array));
        } else {
            others.push(name.to_owned());
        }
    }
    Ok((arrays, others))
}

async fn read_array(file: &NamedSource, file_index: usize, entry: &Entry) -> Result<Array, WeightsError> {
    let damaged = |reason: String| WeightsError::malformed(&file.name, format!("{}: {reason}", entry.name));
    let content = entry.content(file).await?;
    let prefix_len = entry.size.min(HEADER_BYTES);
    let inflated;
    let mapped;
    let prefix: &[u8] = match &content {
        Content::Stored(offset) => {
            mapped = file.read(*offset, prefix_len).await?;
            &mapped
        }
        Content::Deflated(stream) => {
            inflated = inflate(file, stream, std::slice::from_ref(&(0..prefix_len))).await?.concat();
            &inflated
        }
    };
    let header = Header::parse(prefix).map_err(damaged)?;
    if let Ok(dtype) = &header.dtype {
        let bytes = element_count(&header.shape).and_then(|count| count.checked_mul(dtype.size() as u64));
        if bytes.and_then(|bytes| bytes.checked_add(header.len)) != Some(entry.size) {
            return Err(damaged(format!("{dtype} {:?} does not take {} bytes", header.shape, entry.size)));
        }
    }
    let packing = match content {
        Content::Stored(offset) => Packing::Plain { offset: offset + header.len },
        Content::Deflated(stream) => Packing::Deflated { stream, skip: header.len },
    };
    Ok(Array { file: file_index, packing, dtype: header.dtype, shape: header.shape })
}

/// Shape and values of a whole `.npy` file.
///
/// # Errors
/// It is no array of f32, f16 or bf16 in C order, or does not have as many values as its shape tells; in words.
pub fn read_npy(file: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let header = Header::parse(file.get(..HEADER_BYTES as usize).unwrap_or(file))?;
    let dtype = header.dtype.map_err(|dtype| format!("its values are {dtype}; save it as float32"))?;
    let values = file.get(header.len as usize..).unwrap_or_default();
    let bytes = element_count(&header.shape).and_then(|count| count.checked_mul(dtype.size() as u64));
    if bytes != Some(values.len() as u64) {
        return Err(format!("{dtype} {:?} does not take {} bytes", header.shape, values.len()));
    }
    Ok((header.shape, dtype.decode(values.into()).into_owned()))
}

/// What a `.npy` header says (numpy `lib/format.py`).
struct Header {
    /// Bytes before the first number.
    len: u64,
    dtype: Result<Dtype, String>,
    shape: Vec<usize>,
}

impl Header {
    fn parse(prefix: &[u8]) -> Result<Self, String> {
        let cut = || "the .npy header is cut short or too long".to_owned();
        let rest = prefix.strip_prefix(MAGIC).ok_or("it is not an .npy array")?;
        let (&[major, _minor], rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (text_len, rest) = if major == 1 {
            rest.split_first_chunk().map(|(len, rest)| (u32::from(u16::from_le_bytes(*len)), rest)).ok_or_else(cut)?
        } else {
            rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len), rest)).ok_or_else(cut)?
        };
        let text = rest.get(..text_len as usize).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "the .npy header is not text")?;
        let (dtype, shape) = parse_dictionary(text)?;
        Ok(Self { len: (prefix.len() - rest.len()) as u64 + u64::from(text_len), dtype, shape })
    }
}

/// The three keys of the Python literal `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_dictionary(text: &str) -> Result<(Result<Dtype, String>, Vec<usize>), String> {
    let value = |key: &str| {
        let (_, value) = text.split_once(&format!("'{key}':")).ok_or_else(|| format!("the .npy header has no {key}"))?;
        Ok::<_, String>(value.trim_start())
    };
    let shape = value("shape")?.strip_prefix('(').and_then(|shape| shape.split_once(')')).ok_or("the .npy header has a broken shape")?.0;
    let dims = shape.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let shape: Vec<usize> = dims.map(|dim| dim.parse().map_err(|_| format!("{dim:?} is not a dimension"))).collect::<Result<_, _>>()?;
    if !value("fortran_order")?.starts_with("False") {
        return Err("it is stored in Fortran order; save it through numpy.ascontiguousarray".to_owned());
    }
    let descr = value("descr")?.strip_prefix('\'').and_then(|descr| descr.split_once('\'')).map_or("a structured type", |(descr, _)| descr);
    Ok((dtype(descr)?, shape))
}

/// numpy has no bf16 of its own, so arrays of it are saved as two opaque bytes.
fn dtype(descr: &str) -> Result<Result<Dtype, String>, String> {
    Ok(match descr {
        "<f4" => Ok(Dtype::F32),
        "<f2" => Ok(Dtype::F16),
        "|V2" | "<V2" => Ok(Dtype::Bf16),
        "|O" => return Err("it holds Python objects, which are never loaded".to_owned()),
        other => Err(other.to_owned()),
    })
}
