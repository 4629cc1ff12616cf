//! Folders of pictures that a page has handed over.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use js_sys::{Array, Uint8Array};
use polyglance::image::ImageError;
use polyglance::index::store::Census;
use polyglance::index::{FileKind, FileState, Folder, IndexError, LeftOut};
use polyglance::limits::Limits;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, File, FileReaderSync};

use crate::files::in_words;
use crate::worker::Host;

/// The files that somebody chose, under the name of their folder.
pub(crate) struct GivenFolder {
    root: String,
    given: Array,
    /// The same by their paths, once somebody asks.
    files: OnceCell<BTreeMap<String, File>>,
}

impl GivenFolder {
    pub(crate) fn new(host: &Host, root: &str) -> Result<Self, IndexError> {
        let not_given = || IndexError::Io {
            action: "read",
            file: root.into(),
            reason: io::Error::other("the page has not been given this folder since it was opened; choose the folder again"),
        };
        let given = host.files(root).ok_or_else(not_given)?;
        Ok(Self { root: root.to_owned(), given, files: OnceCell::new() })
    }

    fn files(&self) -> &BTreeMap<String, File> {
        let pair = |pair: JsValue| {
            let pair = Array::from(&pair);
            Some((pair.get(0).as_string()?, pair.get(1).dyn_into().ok()?))
        };
        self.files.get_or_init(|| self.given.iter().filter_map(pair).collect())
    }
}

impl Folder for GivenFolder {
    fn root(&self) -> &str {
        &self.root
    }

    fn is_told_by_name(&self) -> bool {
        true
    }

    fn census(&self) -> Result<Census, IndexError> {
        let (mut pictures, mut left_out) = (Vec::new(), LeftOut::default());
        for (path, file) in self.files() {
            let head = || Some(read_slice(file, 0, FileKind::HEAD_BYTES).ok()?.to_vec());
            match FileKind::of(Path::new(path), head) {
                FileKind::Picture => pictures.push((path.clone(), state(file))),
                FileKind::Undecodable(_) | FileKind::Other => left_out.file(path.into()),
            }
        }
        Ok(Census { pictures, left_out, unseen: Vec::new() })
    }

    fn read(&self, below: &str) -> io::Result<Vec<u8>> {
        let file = self.files().get(below).ok_or_else(|| io::Error::other("it is not among the files that the page was given"))?;
        let (bytes, limit) = (file.size() as u64, Limits::current().encoded_image_bytes);
        if bytes > limit {
            return Err(io::Error::other(ImageError::FileTooLarge { bytes, limit }));
        }
        read_slice(file, 0, bytes as usize).map(|bytes| bytes.to_vec()).map_err(|error| io::Error::other(in_words(&error)))
    }
}

fn state(file: &File) -> FileState {
    let millis = file.last_modified() as i64;
    FileState { bytes: file.size() as u64, secs: millis.div_euclid(1_000), nanos: millis.rem_euclid(1_000) as u32 * 1_000_000 }
}

/// A part of a blob, at once: workers may wait for it.
pub(crate) fn read_slice(blob: &Blob, start: u64, len: usize) -> Result<Uint8Array, JsValue> {
    // Lengths of files are exact in f64.
    let slice = blob.slice_with_f64_and_f64(start as f64, start as f64 + len as f64)?;
    Ok(Uint8Array::new(&FileReaderSync::new()?.read_as_array_buffer(&slice)?.into()))
}
