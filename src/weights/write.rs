//! Writing files that are, after any crash, exactly their old or their new version; and safetensors through that.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::array::element_count;
use super::{Dtype, WeightsError};

/// A tensor to write.
#[derive(Clone, Debug)]
pub struct OutputTensor<'a> {
    /// Name; unique in the file.
    pub name: String,
    /// Row-major shape; its product is the number of values.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: OutputValues<'a>,
}

/// Numbers to write.
#[derive(Clone, Copy, Debug)]
pub enum OutputValues<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [half::f16]),
    /// Signed 32-bit integers.
    I32(&'a [i32]),
}

impl OutputValues<'_> {
    fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::F16(_) => "F16",
            Self::I32(_) => "I32",
        }
    }

    /// Bytes of one number.
    fn size(&self) -> u64 {
        match self {
            Self::F32(_) | Self::I32(_) => 4,
            Self::F16(_) => 2,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::F32(values) => values.len() as u64,
            Self::F16(values) => values.len() as u64,
            Self::I32(values) => values.len() as u64,
        }
    }

    /// Writes them one after the other, little-endian.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, writer: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::F32(values) => values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes())),
            Self::F16(values) => values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes())),
            Self::I32(values) => values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes())),
        }
    }
}

/// Writes a safetensors file; `metadata` becomes its `__metadata__`. An existing file is replaced whole or left as it was.
///
/// # Errors
/// Two tensors of one name, a shape that does not fit its values, or the disk is full or refuses.
pub fn write_safetensors(path: &Path, tensors: &[OutputTensor<'_>], metadata: &BTreeMap<String, String>) -> Result<(), WeightsError> {
    PendingFile::create(path)?.commit_safetensors(tensors, metadata)
}

/// The same file in memory.
///
/// # Errors
/// Two tensors of one name, or a shape that does not fit its values.
pub fn safetensors_bytes(tensors: &[OutputTensor<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, WeightsError> {
    let header = header(&entries(tensors)?, metadata)?;
    let mut bytes = Vec::new();
    let written = write_parts(&mut bytes, &header, tensors);
    written.map(|()| bytes).map_err(|source| WeightsError::Io { action: "write", file: "memory".into(), source })
}

fn write_parts(writer: &mut dyn Write, header: &str, tensors: &[OutputTensor<'_>]) -> io::Result<()> {
    write_header(writer, header)?;
    tensors.iter().try_for_each(|tensor| tensor.values.write(writer))
}

fn write_header(writer: &mut dyn Write, header: &str) -> io::Result<()> {
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(header.as_bytes())
}

/// A tensor in the header.
struct Entry<'a> {
    name: &'a str,
    shape: &'a [usize],
    /// As safetensors calls it.
    dtype: &'static str,
    bytes: u64,
}

fn entries<'a>(tensors: &'a [OutputTensor<'_>]) -> Result<Vec<Entry<'a>>, WeightsError> {
    let entry = |tensor: &'a OutputTensor<'_>| {
        let OutputTensor { name, shape, values } = tensor;
        if element_count(shape) != Some(values.len()) {
            return Err(bad_output(name, format!("shape {shape:?} does not hold {} values", values.len())));
        }
        Ok(Entry { name, shape, dtype: values.dtype(), bytes: values.len() * values.size() })
    };
    tensors.iter().map(entry).collect()
}

fn bad_output(name: &str, reason: String) -> WeightsError {
    WeightsError::BadOutput { name: name.to_owned(), reason }
}

fn header(entries: &[Entry<'_>], metadata: &BTreeMap<String, String>) -> Result<String, WeightsError> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let (mut names, mut cursor) = (HashSet::new(), 0);
    for Entry { name, shape, dtype, bytes } in entries {
        if *name == "__metadata__" || !names.insert(*name) {
            return Err(bad_output(name, "the name is taken".to_owned()));
        }
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [cursor, cursor + bytes] });
        header.insert((*name).to_owned(), entry);
        cursor += bytes;
    }
    // Padding to 8 bytes aligns the tensors for readers that map the file.
    let mut header = serde_json::Value::Object(header).to_string();
    let padding = header.len().next_multiple_of(8) - header.len();
    header.push_str(&" ".repeat(padding));
    Ok(header)
}

/// Writes a file through a temporary one in the same folder: synced, then renamed over `path`. On any error the temporary file is
/// removed and `path` is as it was.
///
/// # Errors
/// [`WeightsError::Io`] naming `path`, for instance when the disk is full.
pub fn replace_file(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> Result<(), WeightsError> {
    PendingFile::create(path)?.commit(write)
}

/// A file that has no name of its own until it is complete and on disk.
///
/// Opened before long work begins, so that a folder that refuses new files is known at once. Dropped without
/// [`commit`](Self::commit), it leaves nothing.
#[derive(Debug)]
pub struct PendingFile {
    target: PathBuf,
    temporary: NamedTempFile,
}

impl PendingFile {
    /// Opens a temporary file beside `target`. If that is a symbolic link, the file it names will be replaced, not the link.
    ///
    /// # Errors
    /// The folder is missing or refuses new files, or `target` exists and is no regular file.
    pub fn create(target: &Path) -> Result<Self, WeightsError> {
        let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
        let failed = |source| WeightsError::Io { action: "write", file: target.clone(), source };
        if std::fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed(io::Error::other("it exists and is not a regular file")));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".polyglance-").suffix(".tmp");
        // Readable as any new file is, within the user's umask; temporary files are private by default.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.tempfile_in(folder_of(&target)).map_err(failed)?;
        Ok(Self { target, temporary })
    }

    /// Where the bytes are until then.
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Fills the file by `write`, syncs it and gives it its name.
    ///
    /// # Errors
    /// [`WeightsError::Io`] naming the target, which is then as it was.
    pub fn commit(self, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> Result<(), WeightsError> {
        let Self { target, temporary } = self;
        commit(temporary, &target, write).map_err(|source| WeightsError::Io { action: "write", file: target, source })
    }

    /// Fills the file with tensors, as [`write_safetensors`] does.
    ///
    /// # Errors
    /// As [`write_safetensors`].
    pub fn commit_safetensors(self, tensors: &[OutputTensor<'_>], metadata: &BTreeMap<String, String>) -> Result<(), WeightsError> {
        let header = header(&entries(tensors)?, metadata)?;
        self.commit(|writer| write_parts(writer, &header, tensors))
    }

    /// Fills the file with tensors that need not be in memory together: `write` is called for each in turn, by number, and writes its values.
    ///
    /// # Errors
    /// As [`write_safetensors`], or those of `write`; also if that writes more or fewer bytes than it should.
    pub fn commit_streamed(
        self,
        tensors: &[StreamedTensor<'_>],
        metadata: &BTreeMap<String, String>,
        mut write: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), WeightsError> {
        let entries = tensors.iter().map(StreamedTensor::entry).collect::<Result<Vec<_>, _>>()?;
        let header = header(&entries, metadata)?;
        self.commit(|writer| {
            write_header(writer, &header)?;
            for (number, entry) in entries.iter().enumerate() {
                let mut counted = Counted { writer, bytes: 0 };
                write(number, &mut counted)?;
                if counted.bytes != entry.bytes {
                    return Err(io::Error::other(format!(
                        "tensor {} came out at {} bytes, not {}",
                        entry.name, counted.bytes, entry.bytes
                    )));
                }
            }
            Ok(())
        })
    }
}

/// A tensor whose values come later.
#[derive(Clone, Copy, Debug)]
pub struct StreamedTensor<'a> {
    /// Name; unique in the file.
    pub name: &'a str,
    /// Row-major shape.
    pub shape: &'a [usize],
    /// How its values are stored.
    pub dtype: Dtype,
}

impl<'a> StreamedTensor<'a> {
    fn entry(&self) -> Result<Entry<'a>, WeightsError> {
        let Self { name, shape, dtype } = *self;
        let bytes = element_count(shape).and_then(|count| count.checked_mul(dtype.size() as u64));
        let bytes = bytes.ok_or_else(|| bad_output(name, format!("shape {shape:?} is too large")))?;
        let dtype = match dtype {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
        };
        Ok(Entry { name, shape, dtype, bytes })
    }
}

struct Counted<'a> {
    writer: &'a mut (dyn Write + Send),
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn commit(mut temporary: NamedTempFile, target: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    temporary.persist(target)?;
    sync_folder(folder_of(target))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a rename in `folder` survive a power cut. Windows cannot open folders, and commits renames by itself.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
