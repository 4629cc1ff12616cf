//! Models by name: folders as they are, hub ids from the cache or the network, with a progress bar.
//!
//! The only file of the command line that knows whether this build has the feature `hub`.

use std::path::PathBuf;

use anyhow::Result;

#[cfg(feature = "hub")]
mod enabled {
    use std::ops::ControlFlow;
    use std::path::{Path, PathBuf};

    use anyhow::{Context, Result, anyhow, bail};
    use polyglance::weights::hub::{Hub, HubError, HubId, HubOptions, ModelRef};

    use super::super::console::note;
    use super::super::model::choices;
    use super::super::progress::Download;

    /// A hub with the settings of the environment.
    fn hub(offline: bool) -> Hub {
        let options = HubOptions::from_env();
        Hub::new(HubOptions { offline: offline || options.offline, ..options })
    }

    /// A path, or a hub id; an id whose owner is a folder here was meant as a path.
    fn parse(name: &str) -> Result<ModelRef> {
        let parsed = ModelRef::parse(name).map_err(|error| anyhow!("{error}\n{}", choices()))?;
        if let (ModelRef::Hub(_), Some((owner, _))) = (&parsed, name.split_once('/'))
            && Path::new(owner).is_dir()
        {
            bail!("there is no folder {name}, though there is {owner}/\n{}", choices());
        }
        Ok(parsed)
    }

    pub(crate) fn resolve(name: &str, offline: bool) -> Result<PathBuf> {
        let ModelRef::Hub(id) = parse(name)? else { return Ok(PathBuf::from(name)) };
        let hub = hub(offline);
        if let Some(folder) = hub.locate(&id) {
            return Ok(folder);
        }
        download(&hub, &id).with_context(|| format!("there is no folder {name}, and as a hub id it cannot be had"))
    }

    pub(crate) fn fetch(name: &str, offline: bool) -> Result<PathBuf> {
        let ModelRef::Hub(id) = parse(name)? else { bail!("{name} is already on this machine; give a hub id") };
        let hub = hub(offline);
        let folder = match hub.locate(&id) {
            Some(folder) if offline => folder,
            _ => download(&hub, &id)?,
        };
        let damage = hub.verify(&folder)?;
        for damaged in &damage {
            note(&format!("{} is damaged on disk; mending it", damaged.file.display()));
        }
        hub.repair(&id, &damage)?;
        Ok(folder)
    }

    /// Downloads with a progress bar.
    fn download(hub: &Hub, id: &HubId) -> Result<PathBuf, HubError> {
        let bar = Download::new();
        hub.fetch(id, &mut |progress| {
            bar.show(progress.file, progress.done, progress.total);
            ControlFlow::Continue(())
        })
    }

    /// Where downloads are kept.
    pub(crate) fn cache() -> String {
        HubOptions::from_env().cache.display().to_string()
    }
}

#[cfg(not(feature = "hub"))]
mod enabled {
    use std::path::{Path, PathBuf};

    use anyhow::{Result, bail};

    use super::super::model::choices;

    pub(crate) fn resolve(name: &str, _offline: bool) -> Result<PathBuf> {
        if !Path::new(name).exists() {
            bail!("there is no folder {name}, and this build cannot download models (the feature `hub` is off)\n{}", choices());
        }
        Ok(PathBuf::from(name))
    }

    pub(crate) fn fetch(_name: &str, _offline: bool) -> Result<PathBuf> {
        bail!("this build cannot download models (the feature `hub` is off)")
    }

    pub(crate) fn cache() -> String {
        "none: this build cannot download models".to_owned()
    }
}

/// The folder (or weight file) that `name` stands for, downloaded if that is needed and allowed.
pub(crate) fn resolve(name: &str, offline: bool) -> Result<PathBuf> {
    enabled::resolve(name, offline)
}

/// Downloads what is missing of a hub model, checks it and mends what has rotted. Returns its folder.
pub(crate) fn fetch(name: &str, offline: bool) -> Result<PathBuf> {
    enabled::fetch(name, offline)
}

/// Where downloads are kept, for people.
pub(crate) fn cache() -> String {
    enabled::cache()
}
