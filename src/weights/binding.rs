//! Matching the tensors that a configuration calls for with the arrays that a file has, and reading them in canonical layout.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::array::{Array, NamedSource, element_count};
use super::names::TensorSpec;
use super::{Dtype, WeightsError};

/// How an array's axes become those of the Hugging Face tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The same numbers in the same order, whatever the axes are called.
    AsIs,
    /// A matrix `[inputs, outputs]`, possibly with either side split into heads.
    Transposed,
    /// A convolution kernel `[height, width, inputs, outputs]`.
    HwioToOihw,
}

/// One way a file may hold a tensor: arrays to be put one after another along the first axis.
pub(crate) struct Candidate {
    pub(crate) parts: Vec<Wanted>,
    pub(crate) layout: Layout,
}

/// An array that a candidate needs.
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// Expected shape in the file.
    pub(crate) shape: Vec<usize>,
    /// If the array stacks all blocks along its first axis, the block.
    pub(crate) layer: Option<usize>,
}

/// All arrays of a checkpoint by the name without optional prefixes.
#[derive(Default)]
pub(crate) struct Catalog {
    arrays: Vec<Array>,
    by_name: HashMap<String, usize>,
}

impl Catalog {
    /// Adds an array; `false` if the name is taken.
    pub(crate) fn insert(&mut self, name: &str, array: Array) -> bool {
        let fresh = self.by_name.insert(name.to_owned(), self.arrays.len()).is_none();
        self.arrays.push(array);
        fresh
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.get(*self.by_name.get(name)?)
    }

    pub(crate) fn len(&self) -> usize {
        self.arrays.len()
    }

    /// Finds every tensor, or says everything that is wrong. Also returns the names that no tensor used, sorted.
    pub(crate) fn bind(
        &self,
        specs: Vec<TensorSpec>,
        candidates: impl Fn(&TensorSpec) -> Vec<Candidate>,
    ) -> Result<(Vec<Binding>, Vec<String>), Vec<String>> {
        let (mut bindings, mut problems) = (Vec::with_capacity(specs.len()), Vec::new());
        let mut unused: HashSet<&str> = self.by_name.keys().map(String::as_str).collect();
        for spec in specs {
            let mut candidates = candidates(&spec);
            let present = candidates.iter().position(|candidate| candidate.parts.iter().any(|part| self.by_name.contains_key(&part.name)));
            let candidate = (!candidates.is_empty()).then(|| candidates.swap_remove(present.unwrap_or(0)));
            let Some(candidate) = candidate else { continue };
            for part in &candidate.parts {
                unused.remove(part.name.as_str());
            }
            match self.bind_one(&spec, &candidate) {
                Ok(binding) => bindings.push(binding),
                Err(mut found) => problems.append(&mut found),
            }
        }
        problems.dedup();
        let mut unused: Vec<String> = unused.into_iter().map(str::to_owned).collect();
        unused.sort_unstable();
        if problems.is_empty() { Ok((bindings, unused)) } else { Err(problems) }
    }

    fn bind_one(&self, spec: &TensorSpec, candidate: &Candidate) -> Result<Binding, Vec<String>> {
        let (mut parts, mut problems) = (Vec::new(), Vec::new());
        for wanted in &candidate.parts {
            match self.bind_part(wanted) {
                Ok(part) => parts.push(part),
                Err(problem) if wanted.name == spec.name => problems.push(problem),
                Err(problem) => problems.push(format!("{problem} (for {})", spec.name)),
            }
        }
        match parts.first().map(|part| part.dtype) {
            Some(dtype) if problems.is_empty() => {
                let info = TensorInfo { name: spec.name.clone(), shape: spec.shape.clone(), dtype };
                Ok(Binding { info, parts, layout: candidate.layout })
            }
            _ => Err(problems),
        }
    }

    fn bind_part(&self, wanted: &Wanted) -> Result<Part, String> {
        let Wanted { name, shape, layer } = wanted;
        let index = *self.by_name.get(name).ok_or_else(|| format!("{name} {shape:?} is missing"))?;
        let array = self.arrays.get(index).ok_or_else(|| format!("{name} is missing"))?;
        // A scalar may be stored with no axis or with one.
        if array.shape != *shape && !(array.shape.is_empty() && shape == &[1]) {
            return Err(format!("{name} has shape {:?}, the configuration says {shape:?}", array.shape));
        }
        let dtype = array.dtype.clone().map_err(|dtype| format!("{name} has data type {dtype}; only f32, f16 and bf16 are read"))?;
        let total = element_count(shape).ok_or_else(|| format!("{name} is too large"))?;
        let elements = if layer.is_some() { total / (*shape.first().unwrap_or(&1)).max(1) as u64 } else { total };
        Ok(Part { array: index, dtype, first: layer.unwrap_or(0) as u64 * elements, elements })
    }

    pub(crate) fn array(&self, part: &Part) -> Option<&Array> {
        self.arrays.get(part.array)
    }
}

/// What is known of a tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Hugging Face name, whatever the file calls it.
    pub name: String,
    /// Shape in Hugging Face layout, row-major.
    pub shape: Vec<usize>,
    /// How the file stores the numbers.
    pub dtype: Dtype,
}

impl TensorInfo {
    /// Number of parameters.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }

    /// Bytes in the file, before any compression.
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.size() as u64
    }
}

/// A run of elements of one array.
pub(crate) struct Part {
    array: usize,
    dtype: Dtype,
    first: u64,
    elements: u64,
}

impl Part {
    /// Bytes of `elements` within the array.
    fn bytes(&self, elements: Range<u64>) -> Range<u64> {
        let size = self.dtype.size() as u64;
        (self.first + elements.start) * size..(self.first + elements.end) * size
    }
}

/// A tensor and where its numbers are.
pub(crate) struct Binding {
    pub(crate) info: TensorInfo,
    parts: Vec<Part>,
    layout: Layout,
}

impl Binding {
    /// The whole tensor in canonical layout.
    pub(crate) async fn read<'a>(&self, catalog: &Catalog, files: &'a [NamedSource]) -> Result<Cow<'a, [f32]>, WeightsError> {
        if let ([part], Layout::AsIs) = (self.parts.as_slice(), self.layout) {
            return read_elements(part, 0..part.elements, catalog, files).await;
        }
        let mut values = Vec::new();
        for part in &self.parts {
            let part_values = read_elements(part, 0..part.elements, catalog, files).await?;
            match self.layout {
                Layout::AsIs => values.extend_from_slice(&part_values),
                // Both layouts have the outputs last, so that either is a transposed matrix; they differ in what the inputs are.
                Layout::Transposed => {
                    let inputs = self.info.shape.get(1).copied().unwrap_or(1);
                    transpose(&part_values, inputs, &mut values);
                }
                Layout::HwioToOihw => self.hwio_to_oihw(&part_values, &mut values),
            }
        }
        Ok(Cow::Owned(values))
    }

    /// Rows of the matrix `[rows, columns]`, one after another.
    pub(crate) async fn read_rows(&self, rows: &[u32], catalog: &Catalog, files: &[NamedSource]) -> Result<Vec<f32>, WeightsError> {
        let columns: u64 = self.info.shape.iter().skip(1).map(|&dim| dim as u64).product();
        let range = |&row: &u32| u64::from(row) * columns..(u64::from(row) + 1) * columns;
        if let ([part], Layout::AsIs) = (self.parts.as_slice(), self.layout) {
            // Most rows of a text are the padding token's, and a read may be a question to another process.
            let mut once = rows.to_vec();
            once.sort_unstable();
            once.dedup();
            let byte_ranges: Vec<_> = once.iter().map(|row| part.bytes(range(row))).collect();
            let pieces = read_bytes(part, &byte_ranges, catalog, files).await?;
            let decoded: Vec<_> = pieces.into_iter().map(|piece| part.dtype.decode(piece)).collect();
            let values = rows.iter().filter_map(|row| decoded.get(once.binary_search(row).ok()?));
            return Ok(values.flat_map(|values| values.iter().copied()).collect());
        }
        let whole = self.read(catalog, files).await?;
        let values = rows.iter().map(range).filter_map(|range| whole.get(range.start as usize..range.end as usize));
        Ok(values.flatten().copied().collect())
    }

    fn hwio_to_oihw(&self, hwio: &[f32], oihw: &mut Vec<f32>) {
        let &[outputs, inputs, height, width] = self.info.shape.as_slice() else { return };
        oihw.reserve(hwio.len());
        for output in 0..outputs {
            for input in 0..inputs {
                let pixels = (0..height * width).map(|pixel| (pixel * inputs + input) * outputs + output);
                oihw.extend(pixels.filter_map(|index| hwio.get(index)));
            }
        }
    }
}

async fn read_elements<'a>(
    part: &Part,
    elements: Range<u64>,
    catalog: &Catalog,
    files: &'a [NamedSource],
) -> Result<Cow<'a, [f32]>, WeightsError> {
    let pieces = read_bytes(part, &[part.bytes(elements)], catalog, files).await?;
    Ok(part.dtype.decode(pieces.into_iter().next().unwrap_or_default()))
}

async fn read_bytes<'a>(
    part: &Part,
    ranges: &[Range<u64>],
    catalog: &Catalog,
    files: &'a [NamedSource],
) -> Result<Vec<Cow<'a, [u8]>>, WeightsError> {
    let array = catalog.array(part);
    let Some((array, file)) = array.and_then(|array| Some((array, files.get(array.file)?))) else { return Ok(Vec::new()) };
    array.read(file, ranges).await
}

/// Appends the transpose of `matrix` `[inputs, outputs]`. In tiles, because a column-wise walk of a wide matrix misses the cache each step.
fn transpose(matrix: &[f32], inputs: usize, transposed: &mut Vec<f32>) {
    const TILE: usize = 32;
    let outputs = matrix.len() / inputs.max(1);
    let start = transposed.len();
    transposed.resize(start + matrix.len(), 0.0);
    let Some(target) = transposed.get_mut(start..) else { return };
    for (tile_index, rows) in target.chunks_mut((TILE * inputs).max(1)).enumerate() {
        for tile_start in (0..inputs).step_by(TILE) {
            for (row_index, row) in rows.chunks_mut(inputs.max(1)).enumerate() {
                let output = tile_index * TILE + row_index;
                for (offset, value) in row.iter_mut().skip(tile_start).take(TILE).enumerate() {
                    *value = matrix.get((tile_start + offset) * outputs + output).copied().unwrap_or(0.0);
                }
            }
        }
    }
}
