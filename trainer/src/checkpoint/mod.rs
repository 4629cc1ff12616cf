//! Checkpoints that are, after any crash, old or new: folders `step-N` that appear under their name only when they are complete.
//!
//! Saving: fill `step-N.tmp`, sync its files and folders, write `DONE.json` with sizes and SHA-256, sync, rename, sync the parent.
//! Loading: the newest folder whose `DONE.json` verifies; others are passed over with a warning. The last two and the best are kept.

mod arrays;
mod files;
mod manifest;
mod state;

use std::io;
use std::path::{Path, PathBuf};

pub use arrays::{read_arrays, write_arrays};
pub use files::{Disk, FileSystem};
pub use manifest::{FileRecord, Manifest};
pub use state::TrainingState;

/// Why a checkpoint was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Infinitive.
        action: &'static str,
        /// Folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's content contradicts what belongs there.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// What fills the folder failed.
    #[error("cannot save the {what}: {source}")]
    Fill {
        /// Model, optimiser or averages.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A complete and verified checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// `…/step-N`.
    pub folder: PathBuf,
    /// Steps done when it was saved.
    pub step: u64,
    /// What "best" goes by; larger is better.
    pub score: Option<f64>,
}

/// The checkpoints of a run, in one folder.
#[derive(Debug)]
pub struct Store<F = Disk> {
    folder: PathBuf,
    files: F,
}

/// Complete checkpoints that stay beside the best.
const KEPT: usize = 2;

impl Store<Disk> {
    /// The store in `folder`, which will be created.
    pub fn new(folder: &Path) -> Self {
        Self::on(folder, Disk)
    }
}

impl<F: FileSystem> Store<F> {
    /// The same on another file system.
    pub fn on(folder: &Path, files: F) -> Self {
        Self { folder: folder.to_owned(), files }
    }

    /// Saves what `fill` writes into the folder it is given, as the checkpoint of `step`, and then removes checkpoints that are neither
    /// among the last two nor the best. A checkpoint of the same step is replaced.
    ///
    /// # Errors
    /// `fill` failed or the disk did; the checkpoints of before are untouched.
    pub fn save(
        &self,
        step: u64,
        score: Option<f64>,
        fill: impl FnOnce(&Path) -> Result<(), CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        self.files.create_folder(&self.folder)?;
        let (target, temporary) = (self.folder.join(format!("step-{step}")), self.folder.join(format!("step-{step}.tmp")));
        self.files.remove(&temporary)?;
        self.files.create_folder(&temporary)?;
        fill(&temporary)?;
        Manifest::of(&self.files, &temporary, step, score)?.write(&self.files, &temporary)?;
        // Only a folder that a crash or another run of this very step left can be in the way.
        self.discard(&target)?;
        self.files.rename(&temporary, &target)?;
        self.files.sync(&self.folder)?;
        self.prune()?;
        Ok(target)
    }

    /// The newest checkpoint that verifies, and a sentence about every newer one that does not.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn newest(&self) -> Result<(Option<Found>, Vec<String>), CheckpointError> {
        let mut warnings = Vec::new();
        for (step, folder) in self.steps()?.into_iter().rev() {
            match Manifest::read(&self.files, &folder).and_then(|manifest| manifest.verify(&self.files, &folder).map(|()| manifest)) {
                Ok(manifest) => return Ok((Some(Found { folder, step, score: manifest.score }), warnings)),
                Err(error) => warnings.push(format!("{} is passed over: {error}", folder.display())),
            }
        }
        Ok((None, warnings))
    }

    /// Folders that end in `step-N`, ascending by N. They need not be complete.
    fn steps(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
        let mut steps: Vec<(u64, PathBuf)> =
            self.files.list(&self.folder)?.into_iter().filter_map(|path| step(&path).map(|step| (step, path))).collect();
        steps.sort();
        Ok(steps)
    }

    /// Removes all but the last two and the best. Reading a manifest is enough here: it was verified by the rename that made it visible.
    fn prune(&self) -> Result<(), CheckpointError> {
        let complete: Vec<_> = self.steps()?.into_iter().filter_map(|(_, folder)| Some((Manifest::read(&self.files, &folder).ok()?, folder))).collect();
        let score = |manifest: &Manifest| manifest.score.unwrap_or(f64::NEG_INFINITY);
        let best = complete.iter().max_by(|a, b| score(&a.0).total_cmp(&score(&b.0)).then(a.0.step.cmp(&b.0.step)));
        let best = best.filter(|(manifest, _)| manifest.score.is_some()).map(|(_, folder)| folder.clone());
        let old = complete.len().saturating_sub(KEPT);
        for (_, folder) in complete.iter().take(old).filter(|(_, folder)| Some(folder) != best.as_ref()) {
            self.discard(folder)?;
        }
        let leftovers = self.files.list(&self.folder)?.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "tmp"));
        leftovers.into_iter().try_for_each(|path| self.files.remove(&path))
    }

    /// Removes a checkpoint in such a way that a half removed one has no checkpoint's name.
    fn discard(&self, folder: &Path) -> Result<(), CheckpointError> {
        if !self.files.exists(folder) {
            return Ok(());
        }
        let doomed = folder.with_extension("old.tmp");
        self.files.remove(&doomed)?;
        self.files.rename(folder, &doomed)?;
        self.files.remove(&doomed)
    }
}
