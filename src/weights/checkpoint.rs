//! [`Checkpoint`]: a configuration and its tensors, checked against each other when opened, read one at a time afterwards.

use std::borrow::Cow;
use std::collections::HashMap;
#[cfg(not(target_family = "wasm"))]
use std::path::Path;
use std::sync::Arc;

use super::array::NamedSource;
use super::big_vision::{canonical_key, derive_config, npz_candidates};
use super::binding::{Binding, Catalog, TensorInfo};
use super::names::{canonical_name, expected_tensors, safetensors_candidates};
use super::npz::read_arrays;
use super::safetensors::{ShardIndex, read_header};
use super::{ByteSource, WeightsError};
use crate::config::ModelConfig;
use crate::limits;

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";
/// Where the image processor's settings stand; the second is newer and has them one level down.
const PROCESSORS: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];

/// An open checkpoint. Opening reads headers only; tensors come from the files when asked for.
pub struct Checkpoint {
    /// What errors call it.
    name: String,
    config: ModelConfig,
    files: Vec<NamedSource>,
    catalog: Catalog,
    bindings: Vec<Binding>,
    by_name: HashMap<String, usize>,
    unused: Vec<String>,
}

impl Checkpoint {
    /// Opens a folder with `config.json` and either `model.safetensors`, its sharded form, or one big_vision `.npz`. Beside an `.npz` the
    /// configuration is optional: shapes imply it. The path may also be one of those weight files itself.
    ///
    /// # Errors
    /// A file is missing, damaged or over a limit, or the tensors are not those of the configuration.
    #[cfg(not(target_family = "wasm"))]
    pub async fn open(path: &Path) -> Result<Self, WeightsError> {
        let folder = Folder::list(path)?;
        let config = match folder.open(CONFIG)? {
            Some(config) => config.read_all(limits::CONFIG_BYTES).await?.into_owned(),
            None => Vec::new(),
        };
        Self::assemble(path.display().to_string(), &config, folder.open_all()?).await
    }

    /// Opens a checkpoint from its files, by file name: `model.safetensors`, or `model.safetensors.index.json` and its shards, or one
    /// `.npz`; and `tokenizer.json` for models that embed text. `config_json` may be empty beside an `.npz`.
    ///
    /// # Errors
    /// As for [`Checkpoint::open`].
    pub async fn from_sources(config_json: &[u8], files: Vec<(String, Arc<dyn ByteSource>)>) -> Result<Self, WeightsError> {
        let files = files.into_iter().map(|(name, source)| NamedSource { name, source }).collect();
        Self::assemble("the checkpoint".to_owned(), config_json, files).await
    }

    async fn assemble(name: String, config_json: &[u8], files: Vec<NamedSource>) -> Result<Self, WeightsError> {
        let config = match config_json {
            [] => None,
            json => Some(ModelConfig::from_json(json).map_err(|source| WeightsError::Config { file: name.clone(), source })?),
        };
        let weights = Weights::read(&name, &files).await?;
        let config = config.map_or_else(|| weights.derive_config(&name), Ok)?;
        let config = with_processor(config, &name, &files).await?;
        let (bindings, unused) = weights.bind(&config).map_err(|problems| WeightsError::Mismatch { file: name.clone(), problems })?;
        if let Some(first) = unused.first() {
            tracing::warn!("{name}: {} tensors are no part of a SigLIP model and are ignored, such as {first}", unused.len());
        }
        let by_name = bindings.iter().enumerate().map(|(index, binding)| (binding.info.name.clone(), index)).collect();
        Ok(Self { name, config, files, catalog: weights.catalog, bindings, by_name, unused })
    }

    /// The model's dimensions.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every tensor of the model, in forward order, under its Hugging Face name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.bindings.iter().map(|binding| &binding.info)
    }

    /// Names of tensors in the files that are no part of the model, sorted.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// A whole tensor as f32 in Hugging Face layout. Borrowed when the file is mapped or in memory and holds aligned f32 in that layout.
    ///
    /// # Errors
    /// No such tensor, or its bytes cannot be read.
    pub async fn read(&self, name: &str) -> Result<Cow<'_, [f32]>, WeightsError> {
        self.binding(name)?.read(&self.catalog, &self.files).await
    }

    /// Rows of a tensor, one after another in the order of `rows`: `[rows.len(), columns]`. Nothing else of the tensor is read, unless
    /// the file is compressed or stores it transposed.
    ///
    /// # Errors
    /// No such tensor or row, or its bytes cannot be read.
    pub async fn read_rows(&self, name: &str, rows: &[u32]) -> Result<Vec<f32>, WeightsError> {
        let binding = self.binding(name)?;
        let count = binding.info.shape.first().copied().unwrap_or(0);
        if let Some(row) = rows.iter().find(|&&row| row as usize >= count) {
            return Err(self.no_such(format!("row {row} of {name} (it has {count})")));
        }
        binding.read_rows(rows, &self.catalog, &self.files).await
    }

    /// The bytes of `tokenizer.json`.
    ///
    /// # Errors
    /// The checkpoint came without one, it is over [`limits::TOKENIZER_BYTES`], or it cannot be read.
    pub async fn tokenizer_json(&self) -> Result<Vec<u8>, WeightsError> {
        let Some(file) = self.files.iter().find(|file| file.is(TOKENIZER)) else {
            let remedy = "texts need the one that was published with the weights; copy it into the folder, or run `polyglance fetch` for a model of the hub";
            return Err(WeightsError::Missing { folder: self.name.clone(), what: TOKENIZER.to_owned(), remedy });
        };
        Ok(file.read_all(limits::TOKENIZER_BYTES).await?.into_owned())
    }

    fn binding(&self, name: &str) -> Result<&Binding, WeightsError> {
        let binding = self.by_name.get(name).and_then(|&index| self.bindings.get(index));
        binding.ok_or_else(|| self.no_such(format!("tensor {name:?}")))
    }

    fn no_such(&self, what: String) -> WeightsError {
        WeightsError::NoSuchTensor { file: self.name.clone(), what }
    }
}

/// What the weight files hold, before it is compared with a configuration.
struct Weights {
    catalog: Catalog,
    is_npz: bool,
    /// Names of arrays that were not even looked at.
    others: Vec<String>,
}

impl Weights {
    /// Reads the headers of the one file, the shards or the archive among `files`, in this order of preference.
    async fn read(name: &str, files: &[NamedSource]) -> Result<Self, WeightsError> {
        let find = |wanted: &str| files.iter().position(|file| file.is(wanted));
        let (catalog, is_npz, others) = if let Some(single) = find(SINGLE) {
            (read_safetensors(name, files, &[single], None).await?, false, Vec::new())
        } else if let Some(index) = find(INDEX) {
            (read_sharded(name, files, index).await?, false, Vec::new())
        } else if let Some(npz) = files.iter().position(|file| file.name.ends_with(".npz")) {
            if files.iter().skip(npz + 1).any(|file| file.name.ends_with(".npz")) {
                let remedy = "there are several .npz files: give the path of one of them";
                return Err(WeightsError::Missing { folder: name.to_owned(), what: "single checkpoint".to_owned(), remedy });
            }
            let (catalog, others) = read_npz(files, npz).await?;
            (catalog, true, others)
        } else {
            let remedy = "give a folder with safetensors files or a big_vision .npz (PyTorch .bin files are not read)";
            return Err(WeightsError::Missing { folder: name.to_owned(), what: SINGLE.to_owned(), remedy });
        };
        Ok(Self { catalog, is_npz, others })
    }

    fn derive_config(&self, name: &str) -> Result<ModelConfig, WeightsError> {
        if self.is_npz {
            return derive_config(&self.catalog).map_err(|reason| WeightsError::malformed(name, reason));
        }
        let remedy = "copy the config.json that was published with the weights into the folder";
        Err(WeightsError::Missing { folder: name.to_owned(), what: CONFIG.to_owned(), remedy })
    }

    /// Every tensor of the model and the names left over, or every mismatch.
    fn bind(&self, config: &ModelConfig) -> Result<(Vec<Binding>, Vec<String>), Vec<String>> {
        let specs = expected_tensors(config);
        let (bindings, mut unused) = if self.is_npz {
            self.catalog.bind(specs, |spec| npz_candidates(spec, config))?
        } else {
            self.catalog.bind(specs, safetensors_candidates)?
        };
        unused.extend(self.others.iter().cloned());
        // Older exports carry the buffer 0, 1, 2, …, which is no parameter.
        unused.retain(|tensor| !tensor.ends_with("position_ids"));
        Ok((bindings, unused))
    }
}

/// The configuration with the image processor's settings, if the checkpoint came with any.
async fn with_processor(config: ModelConfig, checkpoint: &str, files: &[NamedSource]) -> Result<ModelConfig, WeightsError> {
    let Some(file) = PROCESSORS.iter().find_map(|name| files.iter().find(|file| file.is(name))) else { return Ok(config) };
    let json = file.read_all(limits::CONFIG_BYTES).await?;
    config.with_preprocessor_json(&json).map_err(|source| WeightsError::Config { file: checkpoint.to_owned(), source })
}

/// The tensors of all `shards`; with an index, each must be in the shard that the index names.
async fn read_safetensors(
    name: &str,
    files: &[NamedSource],
    shards: &[usize],
    index: Option<&ShardIndex>,
) -> Result<Catalog, WeightsError> {
    let mut catalog = Catalog::default();
    let mut problems = Vec::new();
    let mut located = HashMap::new();
    for &shard in shards {
        let Some(file) = files.get(shard) else { continue };
        for (tensor, array) in read_header(file, shard).await? {
            if !catalog.insert(canonical_name(&tensor), array) {
                problems.push(format!("{tensor} is there twice, the second time in {}", file.file_name()));
            }
            located.insert(tensor, file.file_name());
        }
        if catalog.len() > limits::CHECKPOINT_TENSORS {
            return Err(WeightsError::malformed(name, format!("more than {} tensors", limits::CHECKPOINT_TENSORS)));
        }
    }
    for (tensor, shard) in index.map(|index| &index.weight_map).into_iter().flatten() {
        if located.get(tensor) != Some(&shard.as_str()) {
            problems.push(format!("{tensor} is not in {shard}, where the index says it is"));
        }
    }
    if problems.is_empty() { Ok(catalog) } else { Err(WeightsError::Mismatch { file: name.to_owned(), problems }) }
}

async fn read_sharded(name: &str, files: &[NamedSource], index: usize) -> Result<Catalog, WeightsError> {
    let Some(index_file) = files.get(index) else { return Ok(Catalog::default()) };
    let index = ShardIndex::read(index_file).await?;
    let mut shards = Vec::new();
    for shard in index.shards() {
        let Some(position) = files.iter().position(|file| file.is(shard)) else {
            let remedy = "the index lists it, so the download is incomplete: fetch the model again";
            return Err(WeightsError::Missing { folder: name.to_owned(), what: shard.to_owned(), remedy });
        };
        shards.push(position);
    }
    read_safetensors(name, files, &shards, Some(&index)).await
}

async fn read_npz(files: &[NamedSource], npz: usize) -> Result<(Catalog, Vec<String>), WeightsError> {
    let mut catalog = Catalog::default();
    let Some(file) = files.get(npz) else { return Ok((catalog, Vec::new())) };
    let (arrays, others) = read_arrays(file, npz, |key| canonical_key(key).is_some()).await?;
    for (key, array) in arrays {
        if !canonical_key(&key).is_some_and(|key| catalog.insert(key, array)) {
            return Err(WeightsError::malformed(&file.name, format!("{key:?} stands there with and without params/")));
        }
    }
    Ok((catalog, others))
}

/// The files of a checkpoint folder that matter.
#[cfg(not(target_family = "wasm"))]
struct Folder {
    path: std::path::PathBuf,
    names: Vec<String>,
}

#[cfg(not(target_family = "wasm"))]
impl Folder {
    /// Lists the folder, or the folder of a weight file with only that file's weights.
    fn list(path: &Path) -> Result<Self, WeightsError> {
        let failed = |source| WeightsError::Io { action: "open", file: path.to_owned(), source };
        let is_folder = std::fs::metadata(path).map_err(failed)?.is_dir();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = if is_folder { path } else { parent };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        let is_companion = |name: &String| [CONFIG, TOKENIZER].iter().chain(&PROCESSORS).any(|companion| name == companion);
        names.retain(|name| name.ends_with(".safetensors") || name.ends_with(".npz") || name == INDEX || is_companion(name));
        match path.file_name().map(|name| name.to_string_lossy()) {
            Some(file) if !is_folder && file.ends_with(".npz") => {
                names.retain(|name| *name == file || is_companion(name));
            }
            Some(file) if !is_folder && file != SINGLE && file != INDEX => {
                let folder = path.display().to_string();
                let remedy = "give the model's folder, its model.safetensors, or a big_vision .npz";
                return Err(WeightsError::Missing { folder, what: "checkpoint".to_owned(), remedy });
            }
            _ => {}
        }
        Ok(Self { path: folder.to_owned(), names })
    }

    fn open(&self, name: &str) -> Result<Option<NamedSource>, WeightsError> {
        if !self.names.iter().any(|other| other == name) {
            return Ok(None);
        }
        let path = self.path.join(name);
        let source = Arc::new(super::FileSource::open(&path)?);
        Ok(Some(NamedSource { name: path.display().to_string(), source }))
    }

    /// Maps every file; pages are read when touched.
    fn open_all(&self) -> Result<Vec<NamedSource>, WeightsError> {
        self.names.iter().filter(|name| *name != CONFIG).filter_map(|name| self.open(name).transpose()).collect()
    }
}
