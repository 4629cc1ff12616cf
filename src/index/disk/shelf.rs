//! [`DiskShelf`]: indexes in a folder of the user's.

use std::fs;
use std::future::ready;
use std::panic::catch_unwind;
use std::path::{Component, Path, PathBuf};

use super::super::store::{Folder, IndexFuture, Shelf};
use super::super::{IndexError, Reader, Stamp, Writer};
use super::folder::{DiskFolder, below, read_picture};
use super::writing;

/// Indexes in one folder, by name.
pub struct DiskShelf {
    folder: PathBuf,
}

const EXTENSION: &str = "index";

impl DiskShelf {
    /// Those of a folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn make(&self, name: &str, stamp: &Stamp) -> Result<Writer, IndexError> {
        fs::create_dir_all(&self.folder).map_err(|reason| IndexError::Io { action: "make", file: self.folder.clone(), reason })?;
        Writer::open(&self.path(name)?, stamp)
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

impl Shelf for DiskShelf {
    fn names(&mut self) -> IndexFuture<'_, Vec<String>> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let indexes = files.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        let names = indexes.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        Box::pin(ready(Ok(names)))
    }

    fn reader<'a>(&'a mut self, name: &'a str) -> IndexFuture<'a, Reader> {
        Box::pin(ready(self.path(name).and_then(|path| open(&path))))
    }

    fn writer<'a>(&'a mut self, name: &'a str, stamp: &'a Stamp) -> IndexFuture<'a, Writer> {
        Box::pin(ready(self.make(name, stamp)))
    }

    fn delete<'a>(&'a mut self, name: &'a str) -> IndexFuture<'a, ()> {
        Box::pin(ready(self.path(name).and_then(|path| writing::delete(&path))))
    }

    fn folder(&mut self, root: &str) -> Result<Box<dyn Folder>, IndexError> {
        Ok(Box::new(DiskFolder::open(Path::new(root))?))
    }

    fn below(&self, root: &str, picture: &str) -> Option<String> {
        below(Path::new(root), &Path::new(root).join(picture.strip_prefix("./").unwrap_or(picture)))
    }

    fn read(&mut self, root: &str, picture: &str) -> std::io::Result<Vec<u8>> {
        read_picture(&Path::new(root).join(picture))
    }
}

/// A page of the database that is torn in the right place makes it panic: whoever looks through all indexes shall still see the others.
fn open(path: &Path) -> Result<Reader, IndexError> {
    let read = || {
        let reader = Reader::open(path)?;
        reader.count().and_then(|_| reader.bytes())?;
        Ok(reader)
    };
    let torn = || IndexError::Damaged { file: path.to_owned(), reason: "its pages contradict each other".to_owned() };
    catch_unwind(read).unwrap_or_else(|_| Err(torn()))
}

/// Whether a relative path stays below where it begins.
pub(super) fn is_below(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        let shelf = DiskShelf::new(PathBuf::from("/shelf"));
        assert_eq!(shelf.path("a").unwrap(), Path::new("/shelf/a.index"));
        for wrong in ["", "..", "../a", "/a", "a/b", "."] {
            assert!(shelf.path(wrong).is_err(), "{wrong}");
        }
    }
}
