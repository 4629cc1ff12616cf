//! Embeddings that are there already, with the paths of their pictures.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use polyglance::index::disk::below;
use polyglance::weights::read_npy;

use super::UsageError;

/// Columns that hold paths, and columns that hold vectors: those of `export`, and what other tools call them.
const PATHS: [&str; 6] = ["name", "path", "file", "filename", "image_path", "uri"];
const VECTORS: [&str; 4] = ["embedding", "vector", "image_embedding", "embeds"];

/// Vectors of unit length, `[dim]`, by the path of their picture below `root`.
///
/// # Errors
/// The file cannot be read, or its vectors are not such as the model gives.
pub(crate) fn read(file: &Path, root: &Path, dim: usize) -> Result<HashMap<String, Vec<f32>>> {
    let rows = match file.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => from_parquet(file),
        Some("npy") => from_npy(file),
        _ => return Err(UsageError(format!("--vectors {}: the name must end in .parquet or .npy", file.display())).into()),
    };
    let rows = rows.with_context(|| format!("cannot read {}", file.display()))?;
    let mut vectors = HashMap::with_capacity(rows.len());
    for (path, mut vector) in rows {
        if vector.len() != dim {
            bail!(
                "{}: {path} has {} values, and the model's embeddings have {dim}; they are another model's",
                file.display(),
                vector.len()
            );
        }
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        if !(norm.is_finite() && norm > 0.0) {
            bail!("{}: the vector of {path} has no direction", file.display());
        }
        vector.iter_mut().for_each(|value| *value /= norm);
        let known = below(root, &root.join(&path));
        vectors.insert(known.unwrap_or(path), vector);
    }
    Ok(vectors)
}

/// The array, and a path in each line of the file beside it.
fn from_npy(file: &Path) -> Result<Vec<(String, Vec<f32>)>> {
    let (shape, values) = read_npy(&fs::read(file)?).map_err(anyhow::Error::msg)?;
    let [rows, dim] = shape[..] else { bail!("it is an array of {} dimensions, not [pictures, values]", shape.len()) };
    let names = beside(file);
    let lines = fs::read_to_string(&names).with_context(|| format!("the paths of its rows belong into {}", names.display()))?;
    let paths: Vec<&str> = lines.lines().collect();
    if paths.len() != rows {
        bail!("it has {rows} rows, and {} has {} lines", names.display(), paths.len());
    }
    Ok(paths.into_iter().map(str::to_owned).zip(values.chunks_exact(dim.max(1)).map(<[f32]>::to_vec)).collect())
}

/// `FILE.npy.txt`.
pub(crate) fn beside(npy: &Path) -> PathBuf {
    let mut name = npy.as_os_str().to_owned();
    name.push(".txt");
    name.into()
}

/// Rows of pictures: those of texts, which `embed` writes too, are left out.
fn from_parquet(file: &Path) -> Result<Vec<(String, Vec<f32>)>> {
    let reader = SerializedFileReader::new(File::open(file)?)?;
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None)? {
        rows.extend(from_row(&row?)?);
    }
    Ok(rows)
}

fn from_row(row: &Row) -> Result<Option<(String, Vec<f32>)>> {
    let field = |names: &[&str]| row.get_column_iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, field)| field);
    if matches!(field(&["kind"]), Some(Field::Str(kind)) if kind != "image") {
        return Ok(None);
    }
    let Some(Field::Str(path)) = field(&PATHS) else { bail!("it has no column of paths; call it one of {}", PATHS.join(", ")) };
    let Some(Field::ListInternal(list)) = field(&VECTORS) else {
        bail!("it has no column of lists of floats; call it one of {}", VECTORS.join(", "))
    };
    let value = |field: &Field| match field {
        Field::Float16(value) => Ok(value.to_f32()),
        Field::Float(value) => Ok(*value),
        Field::Double(value) => Ok(*value as f32),
        other => bail!("{path} has {other} among its values"),
    };
    Ok(Some((path.clone(), list.elements().iter().map(value).collect::<Result<_>>()?)))
}
