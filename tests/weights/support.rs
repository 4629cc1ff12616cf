//! Tiny checkpoints made byte by byte, so that every field of every format can be broken on purpose.

use std::io::Write as _;
use std::sync::Arc;

use polyglance::config::ModelConfig;
use polyglance::weights::{ByteSource, Checkpoint, MemorySource, TensorSpec, WeightsError, expected_tensors};

/// Width 16, 2 heads, 2 blocks; text width 24, 3 heads, 1 block.
pub(crate) fn tiny_config(naflex: bool) -> ModelConfig {
    let (family, geometry) = if naflex { ("siglip2", r#""num_patches": 16"#) } else { ("siglip", r#""image_size": 13"#) };
    let json = format!(
        r#"{{"model_type": "{family}",
            "vision_config": {{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, {geometry}}},
            "text_config": {{"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 3,
                             "vocab_size": 40, "max_position_embeddings": 8, "projection_size": 16}}}}"#
    );
    ModelConfig::from_json(json.as_bytes()).unwrap()
}

pub(crate) fn config_json(config: &ModelConfig) -> Vec<u8> {
    config.to_json().to_string().into_bytes()
}

/// Distinct numbers for every element of every tensor, all exact in f16 and bf16.
pub(crate) fn values(spec: &TensorSpec) -> Vec<f32> {
    let seed = spec.name.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let count: usize = spec.shape.iter().product();
    (0..count as u32).map(|index| (seed.wrapping_add(index.wrapping_mul(2_654_435_761)) >> 24) as f32 - 128.0).collect()
}

/// A tensor to be written in any form.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn half_bytes(dtype: &str, values: &[f32]) -> Vec<u8> {
    let half = |value: &f32| match dtype {
        "F16" => half::f16::from_f32(*value).to_le_bytes(),
        _ => half::bf16::from_f32(*value).to_le_bytes(),
    };
    values.iter().flat_map(half).collect()
}

/// Every tensor of `config`, in f32.
pub(crate) fn tensors(config: &ModelConfig) -> Vec<Tensor> {
    let tensor = |spec: TensorSpec| Tensor { bytes: f32_bytes(&values(&spec)), name: spec.name, dtype: "F32", shape: spec.shape };
    expected_tensors(config).into_iter().map(tensor).collect()
}

pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut cursor = 0;
    let mut entries = vec![r#""__metadata__":{"format":"pt"}"#.to_owned()];
    for tensor in tensors {
        let end = cursor + tensor.bytes.len();
        entries.push(format!(
            r#"{:?}:{{"dtype":"{}","shape":{:?},"data_offsets":[{cursor},{end}]}}"#,
            tensor.name, tensor.dtype, tensor.shape
        ));
        cursor = end;
    }
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect();
    with_header(&format!("{{{}}}", entries.join(",")), &data)
}

/// A safetensors file with any header.
pub(crate) fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

pub(crate) fn npy(descr: &str, fortran: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let mut header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': ({dims}), }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// An entry of an archive; `claimed_size` overrides the inflated size that the directory states.
pub(crate) struct ZipEntry {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) deflate: bool,
    pub(crate) claimed_size: Option<u64>,
}

impl ZipEntry {
    pub(crate) fn stored(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: format!("{name}.npy"), bytes, deflate: false, claimed_size: None }
    }

    pub(crate) fn deflated(name: &str, bytes: Vec<u8>) -> Self {
        Self { deflate: true, ..Self::stored(name, bytes) }
    }
}

/// An archive as numpy writes it: sizes in zip64 fields.
pub(crate) fn zip(entries: &[ZipEntry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = file.len() as u32;
        let body = if entry.deflate {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&entry.bytes).unwrap();
            encoder.finish().unwrap()
        } else {
            entry.bytes.clone()
        };
        let mut crc = flate2::Crc::new();
        crc.update(&entry.bytes);
        let method = if entry.deflate { 8_u16 } else { 0 };
        let size = entry.claimed_size.unwrap_or(entry.bytes.len() as u64);
        let common = [&45_u16.to_le_bytes()[..], &[0; 2], &method.to_le_bytes(), &[0; 4], &crc.sum().to_le_bytes(), &[255; 8]].concat();
        let name_len = (entry.name.len() as u16).to_le_bytes();
        let extra = [&1_u16.to_le_bytes()[..], &16_u16.to_le_bytes(), &size.to_le_bytes(), &(body.len() as u64).to_le_bytes()].concat();
        let parts = [b"PK\x03\x04", &common[..], &name_len, &20_u16.to_le_bytes(), entry.name.as_bytes(), &extra, &body];
        file.extend(parts.concat());
        let tail = [&name_len[..], &20_u16.to_le_bytes(), &[0; 10], &offset.to_le_bytes(), entry.name.as_bytes(), &extra].concat();
        directory.extend([b"PK\x01\x02", &45_u16.to_le_bytes()[..], &common, &tail].concat());
    }
    let (offset, count) = (file.len() as u32, entries.len() as u16);
    file.extend(&directory);
    let counts = [count.to_le_bytes(), count.to_le_bytes()].concat();
    file.extend([b"PK\x05\x06\0\0\0\0", &counts[..], &(directory.len() as u32).to_le_bytes(), &offset.to_le_bytes(), &[0; 2]].concat());
    file
}

/// Opens a checkpoint from files in memory.
pub(crate) fn open(config: &[u8], files: Vec<(&str, Vec<u8>)>) -> Result<Checkpoint, WeightsError> {
    let source = |(name, bytes): (&str, Vec<u8>)| (name.to_owned(), Arc::new(MemorySource::new(name, bytes)) as Arc<dyn ByteSource>);
    pollster::block_on(Checkpoint::from_sources(config, files.into_iter().map(source).collect()))
}

/// Opens one safetensors file under `config`.
pub(crate) fn open_single(config: &ModelConfig, file: Vec<u8>) -> Result<Checkpoint, WeightsError> {
    open(&config_json(config), vec![("model.safetensors", file)])
}

pub(crate) fn read(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    pollster::block_on(checkpoint.read(name)).unwrap().into_owned()
}

/// Every tensor of the checkpoint is the one that [`values`] gives.
pub(crate) fn assert_complete(checkpoint: &Checkpoint) {
    for spec in expected_tensors(checkpoint.config()) {
        assert_eq!(read(checkpoint, &spec.name), values(&spec), "{}", spec.name);
    }
}

/// The message of the error that opening must give.
pub(crate) fn refusal(result: Result<Checkpoint, WeightsError>) -> String {
    match result {
        Ok(_) => panic!("the checkpoint opened, but must not"),
        Err(error) => error.to_string(),
    }
}
