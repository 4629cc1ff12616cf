//! Checkpoints are old or new, whatever fails.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use polyglance_trainer::checkpoint::{CheckpointError, Disk, FileSystem, Store, read_arrays, write_arrays};
use polyglance_trainer::optim::StateValues;

/// A disk whose n-th operation fails, and all after it: the process died there.
struct Failing {
    left: Cell<usize>,
}

impl Failing {
    fn at(operation: usize) -> Self {
        Self { left: Cell::new(operation) }
    }

    fn allow<T>(&self, path: &Path, run: impl FnOnce() -> Result<T, CheckpointError>) -> Result<T, CheckpointError> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                run()
            }
            None => Err(CheckpointError::Io { action: "touch", path: path.to_owned(), source: io::Error::other("injected") }),
        }
    }
}

impl FileSystem for &Failing {
    fn create_folder(&self, path: &Path) -> Result<(), CheckpointError> {
        self.allow(path, || Disk.create_folder(path))
    }
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
        // A failed write leaves a part of the file.
        self.allow(path, || Disk.write(path, bytes)).inspect_err(|_| {
            let _ = std::fs::write(path, &bytes[..bytes.len() / 2]);
        })
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>, CheckpointError> {
        self.allow(path, || Disk.read(path))
    }
    fn digest(&self, path: &Path) -> Result<(u64, String), CheckpointError> {
        self.allow(path, || Disk.digest(path))
    }
    fn sync(&self, path: &Path) -> Result<(), CheckpointError> {
        self.allow(path, || Disk.sync(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), CheckpointError> {
        self.allow(from, || Disk.rename(from, to))
    }
    fn remove(&self, path: &Path) -> Result<(), CheckpointError> {
        // A failed removal has removed a part.
        self.allow(path, || Disk.remove(path)).inspect_err(|_| {
            let _ = std::fs::remove_file(path.join("a.bin"));
        })
    }
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
        self.allow(path, || Disk.list(path))
    }
    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }
    fn is_folder(&self, path: &Path) -> bool {
        Disk.is_folder(path)
    }
}

fn fill(step: u64) -> impl Fn(&Path) -> Result<(), CheckpointError> {
    move |folder| {
        Disk.write(&folder.join("a.bin"), &step.to_le_bytes())?;
        Disk.create_folder(&folder.join("model"))?;
        Disk.write(&folder.join("model/b.bin"), &[step as u8; 1000])
    }
}

fn steps(folder: &Path) -> Vec<String> {
    Disk.list(folder).expect("it is listed").iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn a_save_that_fails_at_any_operation_leaves_the_old_or_the_new_checkpoint() {
    let (mut operations, mut news) = (0, 0);
    loop {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::new(folder.path());
        [1, 2].into_iter().for_each(|step| drop(store.save(step, None, fill(step)).expect("the disk is fine")));
        let failing = Failing::at(operations);
        let saved = Store::on(folder.path(), &failing).save(3, None, fill(3));
        let found = store.newest().expect("it is listed").0.expect("there is always one");
        assert!(found.step == 3 || found.step == 2, "operation {operations}: {found:?}");
        assert_eq!(Disk.read(&found.folder.join("a.bin")).expect("it is read"), found.step.to_le_bytes());
        news += u64::from(found.step == 3);
        if saved.is_ok() {
            assert_eq!(found.step, 3);
            break;
        }
        // The next save cleans up.
        store.save(4, None, fill(4)).expect("the disk is fine again");
        assert!(steps(folder.path()).iter().all(|name| !name.ends_with(".tmp")), "operation {operations}: {:?}", steps(folder.path()));
        operations += 1;
    }
    assert!(operations > 20 && news > 3, "{operations} operations, {news} of them after the rename");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::new(folder.path());
    let damage: [fn(&Path); 4] = [
        |checkpoint| std::fs::write(checkpoint.join("model/b.bin"), [9; 1000]).expect("it is written"),
        |checkpoint| std::fs::write(checkpoint.join("a.bin"), []).expect("it is written"),
        |checkpoint| std::fs::remove_file(checkpoint.join("a.bin")).expect("it is removed"),
        |checkpoint| std::fs::write(checkpoint.join("DONE.json"), "{").expect("it is written"),
    ];
    for damage in damage {
        store.save(1, None, fill(1)).expect("it is saved");
        damage(&store.save(2, None, fill(2)).expect("it is saved"));
        let (found, warnings) = store.newest().expect("it is listed");
        assert_eq!(found.expect("the older one").step, 1);
        assert!(warnings.len() == 1 && warnings[0].contains("step-2"), "{warnings:?}");
    }
}

#[test]
fn the_last_two_and_the_best_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::new(folder.path());
    for (step, score) in [(10, Some(0.1)), (20, Some(0.7)), (30, None), (40, Some(0.3)), (100, None)] {
        store.save(step, score, fill(step)).expect("it is saved");
    }
    assert_eq!(steps(folder.path()), ["step-100", "step-20", "step-40"]);
    assert_eq!(store.newest().expect("it is listed").0.expect("one").step, 100);
    store.save(100, Some(0.9), fill(7)).expect("a checkpoint of the same step is replaced");
    assert_eq!(Disk.read(&folder.path().join("step-100/a.bin")).expect("it is read"), 7u64.to_le_bytes());
}

#[test]
fn an_empty_or_missing_folder_has_no_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(Store::new(folder.path()).newest().expect("it is listed"), (None, Vec::new()));
    assert_eq!(Store::new(&folder.path().join("none")).newest().expect("it is listed"), (None, Vec::new()));
}

#[test]
fn arrays_come_back_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("optimizer.safetensors");
    let arrays = BTreeMap::from([
        ("first/a".to_owned(), StateValues::F32(vec![0.1, -0.0, f32::MIN_POSITIVE / 2.0])),
        ("touched/b".to_owned(), StateValues::I32(vec![-1, i32::MAX])),
        ("second/empty".to_owned(), StateValues::F32(Vec::new())),
    ]);
    write_arrays(&path, &arrays).expect("it is written");
    assert_eq!(read_arrays(&path).expect("it is read"), arrays);
    std::fs::write(&path, b"no safetensors").expect("it is written");
    assert!(read_arrays(&path).expect_err("it is damaged").to_string().contains("optimizer.safetensors"));
}
