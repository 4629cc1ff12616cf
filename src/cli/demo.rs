//! The built-in model and its sample scenes.
//!
//! The only file of the command line that knows whether this build has the feature `demo-model`.

use polyglance::engine::ModelSource;

/// What `--model` calls the built-in model. A folder of that name is `./demo`.
pub(crate) const NAME: &str = ModelSource::DEMO;

#[cfg(feature = "demo-model")]
mod enabled {
    use anyhow::Result;
    use polyglance::demo::{SAMPLES, TEMPLATE, checkpoint};
    use polyglance::platform::block_on;
    use polyglance::weights::Checkpoint;

    use super::super::inputs::{Inputs, Picture};

    pub(crate) fn open() -> Result<Checkpoint> {
        Ok(block_on(checkpoint())?)
    }

    pub(crate) fn is_available() -> bool {
        true
    }

    pub(crate) fn template() -> &'static str {
        TEMPLATE
    }

    pub(crate) fn labels() -> Vec<String> {
        SAMPLES.map(|sample| sample.label.to_owned()).to_vec()
    }

    pub(crate) fn pictures() -> Inputs {
        let pictures = SAMPLES.map(|sample| Picture::built_in(sample.file, sample.jpeg)).to_vec();
        Inputs { pictures, ..Inputs::default() }
    }
}

#[cfg(not(feature = "demo-model"))]
mod enabled {
    use anyhow::{Result, bail};
    use polyglance::weights::Checkpoint;

    use super::super::inputs::Inputs;

    pub(crate) fn open() -> Result<Checkpoint> {
        bail!("this build has no model inside (feature `demo-model`); for a folder called demo write ./demo")
    }

    pub(crate) fn is_available() -> bool {
        false
    }

    pub(crate) fn template() -> &'static str {
        "{}"
    }

    pub(crate) fn labels() -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn pictures() -> Inputs {
        Inputs::default()
    }
}

pub(crate) use enabled::{is_available, labels, open, pictures, template};
