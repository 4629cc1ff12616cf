//! Checkpoint formats: what opens, what it reads as, and what is refused.

mod archives;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use pollster::block_on;
use polyglance::limits;
use polyglance::weights::{
    ByteSource, Checkpoint, Dtype, FileSource, MemorySource, OutputTensor, OutputValues, ReadFuture, TOKEN_TABLE, WeightsError,
    expected_tensors, replace_file, token_table, write_safetensors,
};
use support::*;

const FUSED: &str = "vision_model.head.attention.in_proj_";

fn oracle(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/weights").join(name)
}

/// A folder that `transformers` could have written.
fn write_folder(folder: &Path, naflex: bool) -> Vec<u8> {
    let config = tiny_config(naflex);
    let bytes = safetensors(&tensors(&config));
    std::fs::write(folder.join("config.json"), config_json(&config)).unwrap();
    std::fs::write(folder.join("model.safetensors"), &bytes).unwrap();
    bytes
}

#[test]
fn npz_reads_as_the_converted_transformers_folder() {
    for name in ["fixed", "naflex"] {
        let folder = block_on(Checkpoint::open(&oracle(name))).unwrap();
        let archive = block_on(Checkpoint::open(&oracle(&format!("{name}.npz")))).unwrap();
        assert!(folder.unused().is_empty());
        for info in folder.tensors() {
            assert_eq!(read(&archive, &info.name), read(&folder, &info.name), "{name}: {}", info.name);
        }
        assert!(archive.tensors().eq(folder.tensors()));
        let rows = [39, 0, 7, 7];
        let gathered = block_on(archive.read_rows(TOKEN_TABLE, &rows)).unwrap();
        assert_eq!(gathered, block_on(folder.read_rows(TOKEN_TABLE, &rows)).unwrap());
    }
}

#[test]
fn the_token_table_is_where_its_rows_are() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_folder(folder.path(), true);
    let range = block_on(token_table("file", Arc::new(MemorySource::new("file", bytes.clone())))).unwrap().unwrap();
    let checkpoint = block_on(Checkpoint::open(folder.path())).unwrap();
    let table = &bytes[range.start as usize..range.end as usize];
    let values: Vec<f32> = table.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect();
    assert_eq!(values, read(&checkpoint, TOKEN_TABLE));
    // A shard without it, and what is no such file.
    let others: Vec<_> = tensors(&tiny_config(true)).into_iter().filter(|tensor| tensor.name != TOKEN_TABLE).collect();
    let shard = MemorySource::new("shard", safetensors(&others));
    assert_eq!(block_on(token_table("shard", Arc::new(shard))).unwrap(), None);
    assert!(block_on(token_table("text", Arc::new(MemorySource::new("text", b"no header at all".to_vec())))).is_err());
}

#[test]
fn npz_shapes_imply_the_configuration() {
    let naflex = block_on(Checkpoint::open(&oracle("naflex.npz"))).unwrap();
    assert_eq!(naflex.config(), block_on(Checkpoint::open(&oracle("naflex"))).unwrap().config());
    // The 13th pixel of the fixed model never enters a patch, so no shape can tell 12 from 13.
    let fixed = block_on(Checkpoint::open(&oracle("fixed.npz"))).unwrap();
    let mut expected = *block_on(Checkpoint::open(&oracle("fixed"))).unwrap().config();
    expected.vision.geometry = polyglance::config::VisionGeometry::Fixed { image_size: 12 };
    assert_eq!(*fixed.config(), expected);
}

#[test]
fn a_config_beside_the_npz_wins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(oracle("fixed.npz"), folder.path().join("siglip.npz")).unwrap();
    std::fs::copy(oracle("fixed/config.json"), folder.path().join("config.json")).unwrap();
    let checkpoint = block_on(Checkpoint::open(folder.path())).unwrap();
    assert_eq!(checkpoint.config(), block_on(Checkpoint::open(&oracle("fixed"))).unwrap().config());
}

#[test]
fn a_mapped_f32_tensor_is_borrowed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), false);
    let checkpoint = block_on(Checkpoint::open(folder.path())).unwrap();
    assert_complete(&checkpoint);
    // The header's length decides the alignment; the writer of this crate and Hugging Face's pad it.
    let written = folder.path().join("padded");
    std::fs::create_dir(&written).unwrap();
    std::fs::copy(folder.path().join("config.json"), written.join("config.json")).unwrap();
    let specs = expected_tensors(checkpoint.config());
    let data: Vec<_> = specs.iter().map(values).collect();
    let pairs = specs.iter().zip(&data);
    let output =
        pairs.map(|(spec, data)| OutputTensor { name: spec.name.clone(), shape: spec.shape.clone(), values: OutputValues::F32(data) });
    let outputs: Vec<_> = output.collect();
    write_safetensors(&written.join("model.safetensors"), &outputs, &BTreeMap::new()).unwrap();
    let checkpoint = block_on(Checkpoint::open(&written)).unwrap();
    for info in checkpoint.tensors() {
        let tensor = block_on(checkpoint.read(&info.name)).unwrap();
        assert!(matches!(tensor, std::borrow::Cow::Borrowed(_)), "{}", info.name);
    }
}

#[test]
fn half_precision_formats_arrive_as_f32() {
    let config = tiny_config(true);
    for (name, dtype) in [("F16", Dtype::F16), ("BF16", Dtype::Bf16)] {
        let mut all = tensors(&config);
        for (tensor, spec) in all.iter_mut().zip(expected_tensors(&config)) {
            tensor.dtype = name;
            tensor.bytes = half_bytes(name, &values(&spec));
        }
        let checkpoint = open_single(&config, safetensors(&all)).unwrap();
        assert_complete(&checkpoint);
        assert!(checkpoint.tensors().all(|info| info.dtype == dtype && info.bytes() == 2 * info.elements()));
        let row = block_on(checkpoint.read_rows(TOKEN_TABLE, &[11])).unwrap();
        assert_eq!(row, read(&checkpoint, TOKEN_TABLE)[11 * 24..12 * 24]);
    }
}

#[test]
fn parameters_of_the_tensor_list_are_those_of_the_config() {
    let presets = polyglance::config::PRESETS.map(|preset| preset.config);
    for config in presets.iter().chain(&[tiny_config(false), tiny_config(true)]) {
        let elements = |shape: &Vec<usize>| shape.iter().map(|&dim| dim as u64).product::<u64>();
        let total: u64 = expected_tensors(config).iter().map(|spec| elements(&spec.shape)).sum();
        assert_eq!(total, config.parameters());
    }
}

#[test]
fn prefixes_and_separate_head_projections_are_accepted() {
    let config = tiny_config(false);
    let mut all = Vec::new();
    for tensor in tensors(&config) {
        let Some(kind) = tensor.name.strip_prefix(FUSED) else {
            all.push(tensor);
            continue;
        };
        for (letter, bytes) in ["q", "k", "v"].iter().zip(tensor.bytes.chunks(tensor.bytes.len() / 3)) {
            let shape = [&[16], &tensor.shape[1..]].concat();
            let name = format!("vision_model.head.attention.{letter}_proj.{kind}");
            all.push(Tensor { name, dtype: "F32", shape, bytes: bytes.to_vec() });
        }
    }
    for prefix in ["", "model.", "vision_model.", "module.model.vision_model."] {
        let mut renamed = all.clone();
        for tensor in &mut renamed {
            let vision = tensor.name.starts_with("vision_model.");
            tensor.name = if vision { format!("{prefix}{}", tensor.name) } else { tensor.name.clone() };
        }
        assert_complete(&open_single(&config, safetensors(&renamed)).unwrap());
    }
}

#[test]
fn scalars_may_have_no_axis() {
    let config = tiny_config(false);
    let mut all = tensors(&config);
    all[0].shape = vec![];
    let checkpoint = open_single(&config, safetensors(&all)).unwrap();
    assert_complete(&checkpoint);
    assert_eq!(checkpoint.tensors().next().unwrap().shape, [1]);
}

#[test]
fn extra_tensors_are_ignored_and_listed() {
    let config = tiny_config(false);
    let mut all = tensors(&config);
    let extra = |name: &str, dtype, bytes| Tensor { name: name.to_owned(), dtype, shape: vec![1], bytes: vec![0; bytes] };
    all.push(extra("ema.step", "I64", 8));
    all.push(extra("text_model.embeddings.position_ids", "I64", 8));
    all.push(extra("future", "F4_NEW", 3));
    let checkpoint = open_single(&config, safetensors(&all)).unwrap();
    assert_eq!(checkpoint.unused(), ["ema.step", "future"]);
    assert_complete(&checkpoint);
}

#[test]
fn every_mismatch_is_listed_in_one_error() {
    let config = tiny_config(false);
    let mut all = tensors(&config);
    all.retain(|tensor| tensor.name != "text_model.head.bias" && tensor.name != format!("{FUSED}bias"));
    let find = |all: &mut Vec<Tensor>, name: &str| all.iter().position(|tensor| tensor.name == name).unwrap();
    let scale = find(&mut all, "logit_scale");
    (all[scale].dtype, all[scale].bytes) = ("F64", vec![0; 8]);
    let table = find(&mut all, TOKEN_TABLE);
    all[table].shape = vec![24, 40];
    let error = open_single(&config, safetensors(&all)).err().unwrap();
    let WeightsError::Mismatch { problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 4, "{problems:#?}");
    let message = error.to_string();
    for part in ["logit_scale has data type F64", "[24, 40], the configuration says [40, 24]", "text_model.head.bias [16] is missing"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn the_other_family_is_a_mismatch() {
    let message = refusal(open_single(&tiny_config(true), safetensors(&tensors(&tiny_config(false)))));
    assert!(message.contains("patch_embedding.weight has shape [16, 3, 4, 4], the configuration says [16, 48]"), "{message}");
}

// ---- laziness

/// A source that is never ready at once, as a network is, and counts what is asked of it.
struct SlowSource {
    bytes: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl ByteSource for SlowSource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        let mut is_ready = false;
        let bytes = &self.bytes[offset as usize..][..len];
        Box::pin(std::future::poll_fn(move |context| {
            if std::mem::replace(&mut is_ready, true) {
                return Poll::Ready(Ok(std::borrow::Cow::Borrowed(bytes)));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn only_headers_and_the_rows_in_use_are_read() {
    let config = tiny_config(true);
    let files = [("model.safetensors", safetensors(&tensors(&config))), ("model.npz", std::fs::read(oracle("fixed.npz")).unwrap())];
    for (name, bytes) in files {
        let read = Arc::new(AtomicU64::new(0));
        let counted = || read.swap(0, Ordering::Relaxed);
        let len = bytes.len() as u64;
        let source: Arc<dyn ByteSource> = Arc::new(SlowSource { bytes, read: Arc::clone(&read) });
        let json = if name == "model.npz" { Vec::new() } else { config_json(&config) };
        let checkpoint = block_on(assert_send(Checkpoint::from_sources(&json, vec![(name.to_owned(), source)]))).unwrap();
        // Of an archive this small, the tail that is searched for its directory is most.
        assert!(counted() < len || name == "model.npz", "{name}: opening read everything");
        let rows = block_on(assert_send(checkpoint.read_rows(TOKEN_TABLE, &[3, 39]))).unwrap();
        assert_eq!(counted(), 2 * 24 * 4, "{name}");
        assert_eq!(rows.len(), 2 * 24);
        let query = "text_model.encoder.layers.0.self_attn.q_proj.weight";
        assert_eq!(block_on(assert_send(checkpoint.read(query))).unwrap().len(), 24 * 24);
        assert_eq!(counted(), 24 * 24 * 4, "{name}: one block of the stacked array");
    }
}

// ---- shards

fn shards(config: &polyglance::config::ModelConfig) -> (Vec<u8>, Vec<u8>, BTreeMap<String, String>) {
    let all = tensors(config);
    let (first, second) = all.split_at(all.len() / 2);
    let entry = |shard: &'static str| move |tensor: &Tensor| (tensor.name.clone(), shard.to_owned());
    let map = first.iter().map(entry("model-00001-of-00002.safetensors"));
    let map = map.chain(second.iter().map(entry("model-00002-of-00002.safetensors"))).collect();
    (safetensors(first), safetensors(second), map)
}

fn open_shards(map: &BTreeMap<String, String>, first: Vec<u8>, second: Option<Vec<u8>>) -> Result<Checkpoint, WeightsError> {
    let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string();
    let mut files = vec![("model.safetensors.index.json", index.into_bytes()), ("model-00001-of-00002.safetensors", first)];
    files.extend(second.map(|second| ("model-00002-of-00002.safetensors", second)));
    open(&config_json(&tiny_config(true)), files)
}

#[test]
fn sharded_checkpoints_open() {
    let (first, second, map) = shards(&tiny_config(true));
    assert_complete(&open_shards(&map, first, Some(second)).unwrap());
}

#[test]
fn broken_shard_indices_are_refused() {
    let (first, second, map) = shards(&tiny_config(true));
    let message = refusal(open_shards(&map, first.clone(), None));
    assert!(message.contains("there is no model-00002-of-00002.safetensors"), "{message}");
    let message = refusal(open_shards(&map, first.clone(), Some(first.clone())));
    assert!(message.contains("is there twice") && message.contains("where the index says it is"), "{message}");
    for escape in ["../model.safetensors", "/etc/x.safetensors", "a\\b.safetensors", ".safetensors", "model.bin"] {
        let mut map = map.clone();
        map.insert("logit_bias".to_owned(), escape.to_owned());
        let message = refusal(open_shards(&map, first.clone(), Some(second.clone())));
        assert!(message.contains("is not the name of a safetensors file"), "{message}");
    }
}

// ---- safetensors that lie

#[test]
fn truncated_safetensors_are_refused_at_every_length() {
    let config = tiny_config(true);
    let whole = safetensors(&tensors(&config));
    for len in (0..whole.len()).step_by(37) {
        let message = refusal(open_single(&config, whole[..len].to_vec()));
        assert!(message.contains("model.safetensors is damaged"), "{message}");
    }
    let longer = [whole, vec![0]].concat();
    assert!(refusal(open_single(&config, longer)).contains("follow the header"));
}

#[test]
fn flipped_header_bits_never_panic_or_change_a_tensor_unseen() {
    let config = tiny_config(true);
    let whole = safetensors(&tensors(&config));
    let header_len = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    // Every third bit, so that over 24 bits each bit of a byte has its turn.
    for bit in (0..(8 + header_len) * 8).step_by(3) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A flip inside the metadata's text is harmless; any other must be noticed.
        if let Ok(checkpoint) = open_single(&config, flipped) {
            assert!((8..40).contains(&(bit / 8)), "bit {bit}");
            assert_complete(&checkpoint);
        }
    }
}

#[test]
fn lying_headers_are_refused() {
    let tensor = |name: &str, shape: &str, start: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let cases = [
        (tensor("a", "[1]", 0, 4) + "," + &tensor("b", "[1]", 8, 12), "ends at 4"),
        (tensor("a", "[2]", 0, 8) + "," + &tensor("b", "[1]", 4, 8), "ends at 8"),
        (tensor("a", "[3]", 4, 16), "ends at 0"),
        (tensor("a", "[1]", 4, 0), "ends at 0"),
        (tensor("a", "[2]", 0, 12), "takes 12 bytes"),
        (tensor("a", "[4294967296,4294967296]", 0, 12), "takes 12 bytes"),
        (tensor("a", "[18446744073709551615,2]", 0, 12), "takes 12 bytes"),
        (tensor("a", "[-3]", 0, 12), "unreadable header"),
        (tensor("a", "[3]", 0, 12) + "," + &tensor("a", "[3]", 0, 12), "stands there twice"),
        (tensor("a", "[2]", 0, 8), "8 bytes, but 12 follow"),
        (tensor("a", "[3]", 0, 12) + r#","extra":3"#, "unreadable header"),
    ];
    for (entries, expected) in cases {
        let file = with_header(&format!("{{{entries}}}"), &[0; 12]);
        let message = refusal(open_single(&tiny_config(true), file));
        assert!(message.contains(expected), "{entries}: {message}");
    }
    for garbage in ["", "[]", "{", "null", "{}x", "\u{0}"] {
        assert!(refusal(open_single(&tiny_config(true), with_header(garbage, &[]))).contains("unreadable header"));
    }
}

#[test]
fn header_limits_hold_one_below_at_and_above() {
    let config = tiny_config(true);
    let file = safetensors(&tensors(&config));
    let header_len = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    let (header, data) = file[8..].split_at(header_len);
    let padded = |len: u64| with_header(&(str::from_utf8(header).unwrap().to_owned() + &" ".repeat(len as usize - header_len)), data);
    let limit = limits::SAFETENSORS_HEADER_BYTES;
    assert!(open_single(&config, padded(limit - 1)).is_ok());
    assert!(open_single(&config, padded(limit)).is_ok());
    assert!(refusal(open_single(&config, padded(limit + 1))).contains("more than the 4194304 allowed"));

    let with_count = |count: usize| {
        let mut all = tensors(&config);
        let extra = |index| Tensor { name: format!("x{index}"), dtype: "F32", shape: vec![0], bytes: vec![] };
        all.extend((all.len()..count).map(extra));
        open_single(&config, safetensors(&all))
    };
    assert!(with_count(limits::CHECKPOINT_TENSORS - 1).is_ok());
    assert!(with_count(limits::CHECKPOINT_TENSORS).is_ok());
    assert!(refusal(with_count(limits::CHECKPOINT_TENSORS + 1)).contains("more than 10000 tensors"));
}

// ---- folders

#[test]
fn incomplete_folders_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = || refusal(block_on(Checkpoint::open(folder.path())));
    assert!(open().contains("there is no model.safetensors; give a folder with safetensors files"));
    write_folder(folder.path(), false);
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(open().contains("there is no config.json; copy the config.json that was published"));
    std::fs::write(folder.path().join("config.json"), "{\"model_type\": \"clip\"}").unwrap();
    assert!(open().contains("\"clip\""));
    let missing = folder.path().join("nowhere");
    let message = refusal(block_on(Checkpoint::open(&missing)));
    assert!(message.contains("nowhere"), "{message}");
    let config = folder.path().join("config.json");
    assert!(refusal(block_on(Checkpoint::open(&config))).contains("give the model's folder"));
}

#[test]
fn two_archives_in_one_folder_are_ambiguous() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.npz", "b.npz"] {
        std::fs::copy(oracle("fixed.npz"), folder.path().join(name)).unwrap();
    }
    assert!(refusal(block_on(Checkpoint::open(folder.path()))).contains("give the path of one of them"));
    assert!(block_on(Checkpoint::open(&folder.path().join("b.npz"))).is_ok());
}

#[test]
fn the_tokenizer_is_found_bounded_and_missed() {
    let config = tiny_config(false);
    let with = |tokenizer: Option<Vec<u8>>| {
        let mut files = vec![("model.safetensors", safetensors(&tensors(&config)))];
        files.extend(tokenizer.map(|bytes| ("tokenizer.json", bytes)));
        block_on(open(&config_json(&config), files).unwrap().tokenizer_json())
    };
    assert_eq!(with(Some(b"{}".to_vec())).unwrap(), b"{}");
    assert!(with(None).unwrap_err().to_string().contains("there is no tokenizer.json"));
    let limit = limits::TOKENIZER_BYTES as usize;
    assert!(with(Some(vec![0; limit])).is_ok());
    assert!(with(Some(vec![0; limit + 1])).unwrap_err().to_string().contains("more than the"));
}

#[test]
fn unknown_tensors_and_rows_are_errors() {
    let checkpoint = open_single(&tiny_config(false), safetensors(&tensors(&tiny_config(false)))).unwrap();
    assert!(block_on(checkpoint.read("nothing")).unwrap_err().to_string().contains("nothing"));
    assert!(block_on(checkpoint.read_rows(TOKEN_TABLE, &[39])).is_ok());
    assert!(block_on(checkpoint.read_rows(TOKEN_TABLE, &[0, 40])).unwrap_err().to_string().contains("row 40"));
    assert!(block_on(checkpoint.read_rows(TOKEN_TABLE, &[])).unwrap().is_empty());
}

#[test]
fn an_empty_file_and_a_folder_are_no_sources_of_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    let source = FileSource::open(&empty).unwrap();
    assert!(source.is_empty());
    assert!(FileSource::open(folder.path()).is_err());
}

// ---- writing

#[test]
fn written_tensors_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let halves = [1.5, -65504.0, 6e-8].map(half::f16::from_f32);
    let tensors = [
        OutputTensor { name: "image_embeds".into(), shape: vec![2, 3], values: OutputValues::F32(&[0.5, -1.0, 2.0, 3.0, f32::MIN, 1e-40]) },
        OutputTensor { name: "grid".into(), shape: vec![1, 2], values: OutputValues::I32(&[-7, 9]) },
        OutputTensor { name: "bias".into(), shape: vec![3], values: OutputValues::F16(&halves) },
    ];
    let metadata = BTreeMap::from([("images".to_owned(), "[\"ä \\\"b\\\".png\"]".to_owned())]);
    write_safetensors(&path, &tensors, &metadata).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    assert_eq!(header_len % 8, 0);
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    assert_eq!(header["__metadata__"]["images"], "[\"ä \\\"b\\\".png\"]");
    assert_eq!(header["image_embeds"], serde_json::json!({ "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24] }));
    assert_eq!(header["grid"], serde_json::json!({ "dtype": "I32", "shape": [1, 2], "data_offsets": [24, 32] }));
    assert_eq!(header["bias"], serde_json::json!({ "dtype": "F16", "shape": [3], "data_offsets": [32, 38] }));
    assert_eq!(bytes[8 + header_len..][32..], [0x00, 0x3e, 0xff, 0xfb, 0x01, 0x00]);
    assert_eq!(bytes[8 + header_len..][24..28], (-7_i32).to_le_bytes());
    assert_eq!(bytes[8 + header_len..][..24], f32_bytes(&[0.5, -1.0, 2.0, 3.0, f32::MIN, 1e-40]));
}

#[test]
fn contradicting_output_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |name: &str, dim| OutputTensor { name: name.into(), shape: vec![dim], values: OutputValues::I32(&[1]) };
    for tensors in [vec![tensor("a", 2)], vec![tensor("a", 1), tensor("a", 1)], vec![tensor("__metadata__", 1)]] {
        let result = write_safetensors(&folder.path().join("out"), &tensors, &BTreeMap::new());
        assert!(matches!(result, Err(WeightsError::BadOutput { .. })));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    std::fs::write(&path, b"old").unwrap();
    let error = replace_file(&path, |writer| {
        writer.write_all(b"half of the new")?;
        writer.flush()?;
        std::io::Write::write_all(&mut std::fs::File::options().write(true).open("/dev/full")?, b"rest")
    });
    let message = error.unwrap_err().to_string();
    assert!(message.contains("out.safetensors") && message.contains("No space left"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("nowhere/out");
    assert!(replace_file(&nowhere, |_| Ok(())).unwrap_err().to_string().contains("nowhere"));
}

/// Runs this test again in a process that may not write more than 8 KiB to a file: the nearest thing to a small disk.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_while_writing_is_an_error() {
    const FOLDER: &str = "POLYGLANCE_TEST_SMALL_DISK";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let values = vec![1.0; 1 << 20];
        let tensor = OutputTensor { name: "a".into(), shape: vec![values.len()], values: OutputValues::F32(&values) };
        let error = write_safetensors(&Path::new(&folder).join("out"), &[tensor], &BTreeMap::new()).unwrap_err();
        assert!(matches!(&error, WeightsError::Io { action: "write", .. }), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("out"), b"old").unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" weights::a_disk_that_fills_up_while_writing_is_an_error --exact"])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(std::fs::read(folder.path().join("out")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
