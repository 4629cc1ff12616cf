//! `cargo xtask web`: the app's page and the npm package, from Rust sources to a folder that any static server can serve.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::{
    policy,
    shell::{self, capture, root, target_dir},
};

mod size;
mod toolchain;

pub(crate) use toolchain::Toolchain;

/// What a visitor of a released page downloads until the first result, in bytes after gzip, must stay below these: the WASM, three seconds on an
/// 8 Mbit/s line, and everything.
const WASM_BUDGET: u64 = 3_000_000;
const DOWNLOAD_BUDGET: u64 = 10_000_000;

/// What the page is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Quickly, for who works on it; with what the browser tests need.
    Development,
    /// To be put on a server.
    Release,
    /// As it is released, but with what the browser tests need: what is small enough with that is so without.
    Test,
}

/// One run of cargo for one module.
struct Compilation {
    package: &'static str,
    /// What its files in `dist/` are called.
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Small: it waits for people.
    Interface,
    /// Fast: people wait for it.
    Engine,
    /// With threads and relaxed SIMD, for browsers that have both.
    EngineWithThreads,
}

/// The interface is small without the engine, which runs in a worker. Apart, since cargo would compile their common crates with what either needs.
const COMPILATIONS: [Compilation; 3] = [
    Compilation { package: "polyglance-page", name: "polyglance_page", kind: Kind::Interface },
    Compilation { package: "polyglance-web", name: "polyglance_web", kind: Kind::Engine },
    Compilation { package: "polyglance-web", name: "polyglance_web_threads", kind: Kind::EngineWithThreads },
];

/// Our own crate, which is otherwise compiled to be fast.
const SMALL: [&str; 2] = ["--config", "profile.web.package.polyglance.opt-level=\"s\""];

/// What is put beside the WASM and its bindings, files and folders: where it is in the repository, and in `dist/`.
const STATIC: [(&str, &str); 12] = [
    ("index.html", "index.html"),
    ("web/boot.js", "boot.js"),
    ("web/style.css", "style.css"),
    ("web/icon.svg", "icon.svg"),
    ("web/manifest.webmanifest", "manifest.webmanifest"),
    ("web/worker.js", "worker.js"),
    ("web/link.js", "link.js"),
    ("web/journal.js", "journal.js"),
    // The npm package is the same folder.
    ("web/api", ""),
    ("assets/captions", "captions"),
    ("assets/fonts", "fonts"),
    ("assets/demo", "demo"),
];

/// Files of the npm package, the engine's smaller form and letters for later, which the page does not ask for.
const NOT_FIRST: [&str; 9] = [
    "polyglance_web.js",
    "polyglance_web_bg.wasm",
    "README.md",
    "package.json",
    "polyglance.d.ts",
    "example",
    "demo/README.md",
    "fonts/NotoSans",
    "fonts/LICENSE.md",
];

/// Crates that the size report names.
const SHOWN_CRATES: usize = 25;

/// Where the page is put together.
pub(crate) fn dist_dir() -> PathBuf {
    root().join("dist")
}

/// Builds `web/` for wasm32, generates its JavaScript bindings and copies the static files beside them.
///
/// # Errors
/// No toolchain for wasm32, a compile error, or an optimised build over its size budget.
pub(crate) fn build(purpose: Purpose) -> Result<()> {
    let is_small = purpose != Purpose::Development;
    let toolchain = Toolchain::find()?;
    let dist = dist_dir();
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("{} could not be cleared", dist.display()))?;
    }
    for compilation in &COMPILATIONS {
        let wasm = compile(&toolchain, compilation, purpose)?;
        if is_small {
            println!("{}, code by crate in kB:", compilation.name);
            size::by_crate(&wasm)?.iter().take(SHOWN_CRATES).for_each(|(name, bytes)| println!("{:>8} {name}", bytes / 1000));
        }
        let mut bindgen = Bindgen::new();
        bindgen.input_path(wasm).out_name(compilation.name).web(true)?.omit_default_module_path(false);
        // Names of functions are for those who look for a crash, who build it themselves.
        bindgen.remove_producers_section(true).remove_name_section(is_small).generate(&dist)?;
    }
    for (from, to) in STATIC {
        copy(&root().join(from), &dist.join(to))?;
    }
    policy::write(&dist)?;
    write_service_worker(&dist)?;
    report_size(&dist, is_small)
}

/// The compiled module, to be read before the next compilation: the engine's two forms have one name.
fn compile(toolchain: &Toolchain, compilation: &Compilation, purpose: Purpose) -> Result<PathBuf> {
    let mut command = match compilation.kind {
        Kind::EngineWithThreads => toolchain.cargo_with_threads(),
        Kind::Interface | Kind::Engine => toolchain.cargo("build"),
    };
    command.args(["--package", compilation.package]);
    match compilation.kind {
        Kind::Interface => drop(command.args(SMALL)),
        Kind::Engine => {}
        Kind::EngineWithThreads => drop(command.args(["--features", "polyglance-web/threads"])),
    }
    if purpose != Purpose::Release {
        command.args(["--features", &format!("{}/probe", compilation.package)]);
    }
    let (profile, folder) = if purpose == Purpose::Development { ("dev", "debug") } else { ("web", "web") };
    shell::run(command.args(["--profile", profile]))?;
    Ok(target_dir().join(toolchain::TARGET).join(folder).join(compilation.package.replace('-', "_")).with_extension("wasm"))
}

/// Copies a file, or all of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        return fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))
        });
    }
    fs::copy(from, to).map(drop).with_context(|| format!("{} could not be copied to {}", from.display(), to.display()))
}

/// Fills in what the page consists of, and a version that changes with any byte of it.
fn write_service_worker(dist: &Path) -> Result<()> {
    let mut files = Vec::new();
    list(dist, Path::new(""), &mut files)?;
    files.sort_unstable();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        file.hash(&mut hasher);
        fs::read(dist.join(file))?.hash(&mut hasher);
    }
    let template = fs::read_to_string(root().join("web/service-worker.js")).context("web/service-worker.js could not be read")?;
    // The page itself has two addresses.
    let names = std::iter::once("./").chain(files.iter().map(String::as_str));
    let names = names.map(|file| format!("\"{file}\"")).collect::<Vec<_>>().join(", ");
    let script = template.replace("@VERSION@", &format!("polyglance {:016x}", hasher.finish())).replace("\"@FILES@\"", &names);
    fs::write(dist.join("service-worker.js"), script).context("the service worker could not be written")
}

/// Files below a folder, relative to it and with slashes.
fn list(folder: &Path, below: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let path = below.join(entry?.file_name());
        if folder.join(&path).is_dir() {
            list(folder, &path, files)?;
        } else {
            files.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

/// Prints how much is downloaded, and holds what is small to its budgets.
fn report_size(dist: &Path, is_small: bool) -> Result<()> {
    let mut files = Vec::new();
    list(dist, Path::new(""), &mut files)?;
    let (mut wasm, mut all) = (0, 0);
    for file in files.iter().filter(|file| !NOT_FIRST.iter().any(|later| file.starts_with(later))) {
        let gzip = capture(Command::new("sh").args(["-c", "gzip -9 -c \"$0\" | wc -c"]).arg(dist.join(file)));
        let gzipped: u64 = gzip.and_then(|count| count.parse().ok()).context("gzip is not installed")?;
        all += gzipped;
        if file.ends_with(".wasm") {
            println!("{file}: {} bytes, {gzipped} gzipped", fs::metadata(dist.join(file))?.len());
            wasm += gzipped;
        }
    }
    println!("download until the first result: {wasm} bytes of WASM and {all} in all, gzipped");
    if is_small && (wasm > WASM_BUDGET || all > DOWNLOAD_BUDGET) {
        bail!("that is more than the budgets of {WASM_BUDGET} and {DOWNLOAD_BUDGET}");
    }
    Ok(())
}
