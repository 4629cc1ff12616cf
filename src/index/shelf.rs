//! [`Shelf`]: the indexes that a program keeps for its user.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{IndexError, Reader, Stamp, Writer, writer};

/// Indexes in one folder, by name.
pub struct Shelf {
    folder: PathBuf,
    readers: HashMap<String, Reader>,
}

const EXTENSION: &str = "index";

impl Shelf {
    /// Those of a folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, readers: HashMap::new() }
    }

    /// What there is, whether it can be read or not.
    pub fn names(&self) -> Vec<String> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let indexes = files.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        indexes.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    }

    /// What the index with this stamp is called: after its folder, and unlike any other.
    pub fn name(stamp: &Stamp) -> String {
        let digest = Sha256::digest(stamp.to_string());
        let mark: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let folder = Path::new(&stamp.root).file_name().unwrap_or_default().to_string_lossy();
        // A dot would begin an extension.
        let plain: String = folder.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(40).collect();
        format!("{plain}-{mark}")
    }

    /// Lets go of all who read.
    pub fn close(&mut self) {
        self.readers.clear();
    }

    /// Who reads an index; opened once.
    ///
    /// # Errors
    /// There is none of this name, or it is damaged.
    pub fn reader(&mut self, name: &str) -> Result<&Reader, IndexError> {
        let path = self.path(name)?;
        Ok(match self.readers.entry(name.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Reader::open(&path)?),
        })
    }

    /// Who writes the index with this stamp. One that is damaged is made anew, since all that it held comes from its folder; what was wrong with it is
    /// given as well.
    ///
    /// # Errors
    /// Another process writes it, or the system refuses.
    pub fn writer(&mut self, stamp: &Stamp) -> Result<(Writer, Option<IndexError>), IndexError> {
        fs::create_dir_all(&self.folder).map_err(|reason| IndexError::Io { action: "make", file: self.folder.clone(), reason })?;
        let name = Self::name(stamp);
        let path = self.path(&name)?;
        match Writer::open(&path, stamp) {
            Ok(writer) => Ok((writer, None)),
            Err(damage @ IndexError::Damaged { .. }) => {
                self.delete(&name)?;
                Ok((Writer::open(&path, stamp)?, Some(damage)))
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes an index with all its files.
    ///
    /// # Errors
    /// It is being written, or the system refuses.
    pub fn delete(&mut self, name: &str) -> Result<(), IndexError> {
        self.readers.remove(name);
        writer::delete(&self.path(name)?)
    }

    /// Where an index is. Names are names and no paths, wherever they come from.
    fn path(&self, name: &str) -> Result<PathBuf, IndexError> {
        let file = Path::new(name);
        if !is_below(file) || file.components().count() != 1 {
            return Err(IndexError::Database { file: file.to_owned(), reason: "this is not the name of an index".to_owned() });
        }
        Ok(self.folder.join(format!("{name}.{EXTENSION}")))
    }
}

/// Whether a relative path stays below where it begins.
pub(super) fn is_below(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_folder_and_lead_nowhere_else() {
        let stamp = |root: &str, model: &str| Stamp {
            root: root.to_owned(),
            model: model.to_owned(),
            dim: 8,
            max_num_patches: None,
            resampling: "hf".to_owned(),
            calibration: [0, 0],
        };
        let name = Shelf::name(&stamp("/pictures/Bilder 2024.neu", "demo"));
        assert!(name.starts_with("Bilder-2024-neu-") && name.len() == 16 + 12, "{name}");
        assert_ne!(name, Shelf::name(&stamp("/pictures/Bilder 2024.neu", "other")));
        let shelf = Shelf::new(PathBuf::from("/shelf"));
        assert_eq!(shelf.path("a").unwrap(), Path::new("/shelf/a.index"));
        for wrong in ["", "..", "../a", "/a", "a/b", "."] {
            assert!(shelf.path(wrong).is_err(), "{wrong}");
        }
    }
}
