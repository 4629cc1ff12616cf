//! The output formats, read back by other readers than our own.

use std::fs;
use std::path::{Path, PathBuf};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::run::{images, model, polyglance};

/// A safetensors file, by the reference implementation.
pub(super) struct Tensors(Vec<u8>);

impl Tensors {
    pub(super) fn read(path: &Path) -> Self {
        Self(fs::read(path).unwrap())
    }

    fn parsed(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.parsed().names().into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }

    pub(super) fn shape(&self, name: &str) -> Vec<usize> {
        self.parsed().tensor(name).unwrap().shape().to_vec()
    }

    fn bytes(&self, name: &str, dtype: Dtype) -> Vec<[u8; 4]> {
        let parsed = self.parsed();
        let tensor = parsed.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{name}");
        tensor.data().as_chunks().0.to_vec()
    }

    pub(super) fn f32(&self, name: &str) -> Vec<f32> {
        self.bytes(name, Dtype::F32).into_iter().map(f32::from_le_bytes).collect()
    }

    pub(super) fn i32(&self, name: &str) -> Vec<i32> {
        self.bytes(name, Dtype::I32).into_iter().map(i32::from_le_bytes).collect()
    }

    /// Some rows of a matrix.
    pub(super) fn rows(&self, name: &str, rows: &[usize]) -> Vec<f32> {
        pick(&self.f32(name), self.shape(name)[1], rows)
    }

    pub(super) fn rows_i32(&self, name: &str, rows: &[usize]) -> Vec<i32> {
        pick(&self.i32(name), self.shape(name)[1], rows)
    }

    pub(super) fn metadata(&self, key: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.0).unwrap();
        header.metadata().as_ref().unwrap()[key].clone()
    }
}

fn pick<T: Copy>(values: &[T], cols: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|row| &values[row * cols..(row + 1) * cols]).copied().collect()
}

/// Embeds three pictures and two texts into `name`; `--text` and `--image` as asked.
fn embed(folder: &Path, name: &str, with_images: bool, with_texts: bool) -> PathBuf {
    let output = folder.join(name);
    let mut command = polyglance(["embed", "--device", "cpu", "--max-num-patches", "16"]);
    if with_images {
        command.arg("--image").arg(images().join("0[0-2]*.png"));
    }
    if with_texts {
        command.args(["--text", "a cat", "--text", "一只猫"]);
    }
    command.arg("--output").arg(&output).arg("--model").arg(model("naflex")).succeeds();
    output
}

fn image_names() -> Vec<String> {
    let names = ["00_tiny_9x5.png", "01_icon_16x16.png", "02_crop_62x62.png"];
    names.iter().map(|name| images().join(name).display().to_string()).collect()
}

#[test]
fn safetensors_names_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = Tensors::read(&embed(folder.path(), "a.safetensors", true, true));
    assert_eq!(tensors.names(), ["grid", "image_embeds", "input_ids", "text_embeds"]);
    assert_eq!(serde_json::from_str::<Vec<String>>(&tensors.metadata("images")).unwrap(), image_names());
    assert_eq!(tensors.metadata("texts"), r#"["a cat","一只猫"]"#);
    assert_eq!(tensors.metadata("max_num_patches"), "16");
    for row in tensors.f32("image_embeds").chunks_exact(tensors.shape("image_embeds")[1]) {
        assert!((row.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let only_texts = Tensors::read(&embed(folder.path(), "b.safetensors", false, true));
    assert_eq!(only_texts.names(), ["input_ids", "text_embeds"]);
}

#[test]
fn every_format_holds_the_same_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = Tensors::read(&embed(folder.path(), "a.safetensors", true, true));
    let (pictures, texts) = (tensors.f32("image_embeds"), tensors.f32("text_embeds"));
    let dim = tensors.shape("text_embeds")[1];
    let all: Vec<f32> = pictures.iter().chain(&texts).copied().collect();
    let names: Vec<String> = image_names().into_iter().chain(["a cat".to_owned(), "一只猫".to_owned()]).collect();

    let (read_names, read) = read_parquet(&embed(folder.path(), "a.parquet", true, true));
    assert_eq!((read_names, read), (names.clone(), all.clone()));
    let (read_names, read) = read_jsonl(&embed(folder.path(), "a.jsonl", true, true));
    assert_eq!((read_names, read), (names, all));
    assert_eq!(read_npy(&embed(folder.path(), "images.npy", true, false)), (vec![3, dim], pictures));
    assert_eq!(read_npy(&embed(folder.path(), "texts.NPY", false, true)), (vec![2, dim], texts));
}

fn read_parquet(path: &Path) -> (Vec<String>, Vec<f32>) {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let rows: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let columns: Vec<Vec<Field>> = rows.iter().map(|row| row.get_column_iter().map(|(_, field)| field.clone()).collect()).collect();
    let text = |field: &Field| if let Field::Str(text) = field { text.clone() } else { panic!("{field} is not text") };
    let kinds: Vec<String> = columns.iter().map(|row| text(&row[0])).collect();
    assert_eq!(kinds, ["image", "image", "image", "text", "text"]);
    let mut values = Vec::new();
    for row in &columns {
        let Field::ListInternal(list) = &row[2] else { panic!("{} is not a list", row[2]) };
        values.extend(list.elements().iter().map(|field| if let Field::Float(value) = field { *value } else { panic!("{field}") }));
    }
    (columns.iter().map(|row| text(&row[1])).collect(), values)
}

fn read_jsonl(path: &Path) -> (Vec<String>, Vec<f32>) {
    let lines: Vec<Value> = fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["grid"].as_array().unwrap().len(), 2);
    assert!(lines[4].get("grid").is_none() && lines[4]["kind"] == "text");
    let values = lines.iter().flat_map(|line| line["embedding"].as_array().unwrap()).map(|value| value.as_f64().unwrap() as f32);
    (lines.iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect(), values.collect())
}

fn read_npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(start % 64, 0);
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (") && header.ends_with('\n'), "{header}");
    let shape = header.split(['(', ')']).nth(1).unwrap().split(", ").map(|side| side.parse().unwrap()).collect();
    let (values, rest) = bytes[start..].as_chunks();
    assert!(rest.is_empty());
    (shape, values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}
