//! `cargo xtask web`: the npm package and its example page, from Rust sources to a folder that any static server can serve.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::shell::{self, capture, root, target_dir};

mod toolchain;

pub(crate) use toolchain::Toolchain;

/// The gzipped WASM of a release build, in bytes, must stay below this: three seconds on an 8 Mbit/s line.
const RELEASE_GZIP_BUDGET: u64 = 3_000_000;

/// What is put beside the WASM and its bindings: a file of the repository, and its name in `dist/`.
const STATIC_FILES: [(&str, &str); 14] = [
    ("web/worker.js", "worker.js"),
    ("web/link.js", "link.js"),
    ("web/api/package.json", "package.json"),
    ("web/api/README.md", "README.md"),
    ("web/api/polyglance.js", "polyglance.js"),
    ("web/api/polyglance.d.ts", "polyglance.d.ts"),
    ("web/api/example.js", "example.js"),
    ("web/api/example.html", "example.html"),
    // The page of the folder itself, until there is an app.
    ("web/api/example.html", "index.html"),
    ("assets/demo/README.md", "demo/README.md"),
    ("assets/demo/config.json", "demo/config.json"),
    ("assets/demo/preprocessor_config.json", "demo/preprocessor_config.json"),
    ("assets/demo/tokenizer.json", "demo/tokenizer.json"),
    ("assets/demo/model.safetensors", "demo/model.safetensors"),
];

/// Where the page is put together.
pub(crate) fn dist_dir() -> PathBuf {
    root().join("dist")
}

/// Builds `web/` for wasm32, generates its JavaScript bindings and copies the static files beside them.
///
/// # Errors
/// No toolchain for wasm32, a compile error, or a release build over its size budget.
pub(crate) fn build(release: bool) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let mut command = toolchain.cargo("build");
    command.args(["--package", "polyglance-web"]);
    if release {
        command.arg("--release");
    }
    shell::run(&mut command)?;

    let profile = if release { "release" } else { "debug" };
    let compiled = target_dir().join(toolchain::TARGET).join(profile).join("polyglance_web.wasm");
    let dist = dist_dir();
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("{} could not be cleared", dist.display()))?;
    }
    let mut bindgen = Bindgen::new();
    bindgen.input_path(&compiled).web(true)?.omit_default_module_path(false).remove_producers_section(true).generate(&dist)?;
    copy_static_files(&dist)?;
    report_size(&dist.join("polyglance_web_bg.wasm"), release)
}

fn copy_static_files(dist: &Path) -> Result<()> {
    fs::create_dir_all(dist.join("demo"))?;
    for (from, to) in STATIC_FILES {
        fs::copy(root().join(from), dist.join(to)).with_context(|| format!("{from} could not be copied to {}", dist.display()))?;
    }
    Ok(())
}

fn report_size(wasm: &Path, release: bool) -> Result<()> {
    let raw = fs::metadata(wasm)?.len();
    let gzipped =
        capture(Command::new("sh").args(["-c", "gzip -9 -c \"$0\" | wc -c"]).arg(wasm)).and_then(|count| count.parse::<u64>().ok());
    match gzipped {
        Some(bytes) => println!("{}: {raw} bytes, {bytes} gzipped", wasm.display()),
        None => println!("{}: {raw} bytes (gzip is not installed)", wasm.display()),
    }
    match gzipped {
        Some(bytes) if release && bytes > RELEASE_GZIP_BUDGET => {
            bail!("the WASM is {bytes} bytes gzipped, more than its budget of {RELEASE_GZIP_BUDGET}")
        }
        _ => Ok(()),
    }
}
