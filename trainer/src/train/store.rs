//! What a checkpoint of a run holds: the model, its average, the optimiser's arrays and the counters.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use polyglance::platform::block_on;
use polyglance::weights::Checkpoint;

use super::TrainError;
use crate::checkpoint::{CheckpointError, Found, TrainingState, read_arrays, write_arrays};
use crate::model::{Export, Siglip};
use crate::optim::{Ema, Optimizer};

const MODEL: &str = "model";
const AVERAGE: &str = "ema";
const OPTIMIZER: &str = "optimizer.safetensors";

/// Where a run's checkpoints are.
pub fn checkpoint_folder(output: &Path) -> PathBuf {
    output.join("checkpoints")
}

/// Writes everything into `folder`. `companions` has the tokenizer's files.
pub(super) fn fill(
    folder: &Path,
    model: &Siglip,
    ema: Option<&Ema>,
    optimizer: &Optimizer,
    state: &TrainingState,
    companions: Option<&Path>,
) -> Result<(), CheckpointError> {
    save_model(&folder.join(MODEL), model, companions)?;
    if let Some(ema) = ema {
        save_model(&folder.join(AVERAGE), &ema.averaged(model), companions)?;
    }
    let arrays = optimizer.state().map_err(|source| CheckpointError::Fill { what: "optimiser", source: source.into() })?;
    write_arrays(&folder.join(OPTIMIZER), &arrays)?;
    state.write(folder)
}

fn save_model(folder: &Path, model: &Siglip, companions: Option<&Path>) -> Result<(), CheckpointError> {
    std::fs::create_dir(folder).map_err(|source| CheckpointError::Io { action: "create the folder", path: folder.to_owned(), source })?;
    let export = Export { source: companions.map(Path::to_owned), ..Export::default() };
    model.save(folder, &export).map_err(|source| CheckpointError::Fill { what: "model", source: source.into() })
}

/// A run as a checkpoint left it.
#[derive(Debug)]
pub struct Resumed {
    /// The model.
    pub model: Siglip,
    /// The average, if one was kept.
    pub average: Option<Siglip>,
    /// Counters.
    pub state: TrainingState,
}

impl Resumed {
    /// Reads a verified checkpoint, and `optimizer`'s state with it.
    ///
    /// # Errors
    /// Something is missing or does not fit the recipe.
    pub fn read(found: &Found, optimizer: &mut Optimizer, device: &Device) -> Result<Self, TrainError> {
        let state = TrainingState::read(&found.folder)?;
        let model = load_model(&found.folder.join(MODEL), device)?;
        let average = found.folder.join(AVERAGE);
        let average = average.is_dir().then(|| load_model(&average, device)).transpose()?;
        optimizer.load(state.updates, read_arrays(&found.folder.join(OPTIMIZER))?, &device.clone().without_autodiff())?;
        Ok(Self { model, average, state })
    }
}

fn load_model(folder: &Path, device: &Device) -> Result<Siglip, TrainError> {
    let checkpoint = block_on(Checkpoint::open(folder)).map_err(crate::model::ModelError::from)?;
    Ok(Siglip::load(&checkpoint, device)?)
}
