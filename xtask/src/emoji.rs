//! Sources of emoji world that are in no Debian package: names in all languages, and a second designer's pictures.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{self, target_dir};

/// npm packages whose contents are data: CLDR's names, and Twemoji as PNG files.
const PACKAGES: [(&str, &str); 3] =
    [("cldr-annotations-full", "48.2.0"), ("cldr-annotations-derived-full", "48.2.0"), ("emoji-datasource-twitter", "16.0.0")];

/// Downloads and unpacks what is not there yet. Gives the folder of names and that of pictures.
pub(crate) fn sources() -> Result<[PathBuf; 2]> {
    let cache = target_dir().join("emoji-world");
    for (name, version) in PACKAGES {
        let folder = cache.join(name);
        if folder.join("package.json").is_file() {
            continue;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let pack = ["pack", "--silent", &format!("{name}@{version}"), "--pack-destination"];
        shell::run(Command::new("npm").args(pack).arg(&cache))?;
        // package.json is unpacked last: it says that the rest is there.
        let archive = cache.join(format!("{name}-{version}.tgz"));
        let unpack = |filter: &[&str]| {
            shell::run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&folder).arg("--strip-components=1").args(filter))
        };
        unpack(&["--exclude=package/package.json"])?;
        unpack(&["package/package.json"])?;
        std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    Ok([cache.clone(), cache.join("emoji-datasource-twitter/img/twitter/64")])
}
