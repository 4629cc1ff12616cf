//! What the suites need from the machine, and how to get it: each function probes first and installs only what is missing.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::shell::{self, capture, root, target_dir, which};

/// The machine lacks something and it could not be installed. The suite that needs it is skipped, with this as the reason.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// A Vulkan loader and at least one driver; Mesa's lavapipe where there is no GPU.
pub(crate) fn vulkan() -> Result<()> {
    let driver = || {
        let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
        folders.iter().any(|folder| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some()))
    };
    let loader = || capture(Command::new("ldconfig").arg("-p")).is_some_and(|libraries| libraries.contains("libvulkan.so.1"));
    // macOS and Windows bring their own graphics API.
    if !cfg!(target_os = "linux") || (driver() && loader()) {
        return Ok(());
    }
    apt("a Vulkan driver", &["libvulkan1", "mesa-vulkan-drivers"])
}

/// What emoji world is drawn with: an emoji font with bitmaps, and letters of all its scripts.
pub(crate) fn fonts() -> Result<()> {
    let packages = ["fonts-noto-color-emoji", "fonts-noto-core", "fonts-noto-cjk", "fonts-dejavu-core"];
    let is_there = |package: &&str| Path::new("/usr/share/doc").join(package).exists();
    // Elsewhere the renderer says which font it did not find.
    if which(&["apt-get"]).is_none() || packages.iter().all(is_there) {
        return Ok(());
    }
    apt("a font of emoji world", &packages)
}

/// A Chromium to test in: `$CHROME`, or one on the PATH.
pub(crate) fn chromium() -> Result<PathBuf> {
    let find = || env::var_os("CHROME").map(PathBuf::from).or_else(|| which(&["chromium", "chromium-browser", "google-chrome"]));
    if let Some(found) = find() {
        return Ok(found);
    }
    apt("Chromium", &["chromium"])?;
    find().context("the chromium package is installed, but there is no `chromium` on the PATH")
}

/// Node.js and the packages of `tests/browser`.
pub(crate) fn node() -> Result<PathBuf> {
    let find = || which(&["node", "nodejs"]);
    if find().is_none() || which(&["npm"]).is_none() {
        apt("Node.js", &["nodejs", "npm"])?;
    }
    let folder = root().join("tests/browser");
    if !folder.join("node_modules/playwright-core/package.json").is_file() {
        shell::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
            .map_err(|error| Missing(format!("tests/browser needs its npm packages: {error}")))?;
    }
    find().context("the nodejs package is installed, but there is no `node` on the PATH")
}

/// A display without a screen, hands for it and the accessibility bus. Gives the Python that knows that bus: the system's own.
pub(crate) fn desktop() -> Result<&'static str> {
    const PYTHON: &str = "/usr/bin/python3";
    let programs = ["Xvfb", "openbox", "dbus-run-session", "xdotool", "xclip", "import", "ffmpeg"];
    let is_there = || {
        let bindings = Command::new(PYTHON).args(["-c", "import gi; gi.require_version('Atspi', '2.0')"]).output();
        programs.iter().all(|program| which(&[program]).is_some()) && bindings.is_ok_and(|output| output.status.success())
    };
    if !is_there() {
        // The last ones are what winit opens when it starts.
        let packages = "xvfb openbox dbus-daemon at-spi2-core gir1.2-atspi-2.0 python3-gi xdotool xclip imagemagick ffmpeg \
                        libxkbcommon-x11-0 libxcursor1 libxi6 libxrandr2 libx11-xcb1 libgl1 libegl1";
        apt("a display to test the window on", &packages.split_whitespace().collect::<Vec<_>>())?;
    }
    vulkan()?;
    Ok(PYTHON)
}

/// Debian's own Rust, whose sources can build `std` for wasm32 where rustup has no prebuilt one.
pub(crate) fn debian_rust() -> Result<()> {
    let files = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/cargo-clippy", "/usr/lib/rustlib/src/rust/library/Cargo.lock"];
    if files.iter().all(|file| Path::new(file).exists()) {
        return Ok(());
    }
    apt("Rust for wasm32 (or run `rustup component add rust-src`)", &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"])
}

/// LLVM's linker, for a Rust that does not bring one.
pub(crate) fn lld() -> Result<()> {
    apt("a WebAssembly linker", &["lld"])
}

/// The spelling checker, whose binary ships in a Python package.
pub(crate) fn typos() -> Result<PathBuf> {
    let ours = target_dir().join("tools/typos");
    let find = || which(&["typos"]).or_else(|| Some(ours.join("bin/typos")).filter(|file| file.is_file()));
    if let Some(found) = find() {
        return Ok(found);
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
    let installed = shell::run(Command::new("python3").args(install).arg(&ours).arg("typos==1.52.0"));
    let reason = || Missing("typos is not installed (`cargo install typos-cli`, or `pip install typos`)".into()).into();
    installed.ok().and_then(|()| find()).ok_or_else(reason)
}

/// Protobuf's compiler, which the client of Chroma is built with.
pub(crate) fn protoc() -> Result<()> {
    if env::var_os("PROTOC").is_some() || which(&["protoc"]).is_some() { Ok(()) } else { apt("protoc", &["protobuf-compiler"]) }
}

/// The server of Chroma, whose binary ships in a Python package: `$POLYGLANCE_CHROMA`, or one on the PATH.
pub(crate) fn chroma() -> Result<PathBuf> {
    let ours = target_dir().join("tools/chroma");
    let find = || {
        let given = env::var_os("POLYGLANCE_CHROMA").map(PathBuf::from).or_else(|| which(&["chroma"]));
        given.or_else(|| Some(ours.join("bin/chroma")).filter(|file| file.is_file()))
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    let made = shell::run(Command::new("python3").args(["-m", "venv"]).arg(&ours));
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "chromadb==1.5.9"];
    let installed = made.and_then(|()| shell::run(Command::new(ours.join("bin/python3")).args(install)));
    let reason = || Missing("chroma is not installed (`pip install chromadb`)".into()).into();
    installed.ok().and_then(|()| find()).ok_or_else(reason)
}

/// The dependency checker. It takes ten minutes to build, so it is used where it is present.
pub(crate) fn cargo_deny() -> Result<()> {
    match which(&["cargo-deny"]) {
        Some(_) => Ok(()),
        None => Err(Missing("cargo-deny is not installed (`cargo install --locked cargo-deny`)".into()).into()),
    }
}

/// Installs Debian packages, or says with which command a person can.
fn apt(what: &str, packages: &[&str]) -> Result<()> {
    let by_hand = format!("{what} is missing; install it with `sudo apt-get install {}`", packages.join(" "));
    let is_root = capture(Command::new("id").arg("-u")).as_deref() == Some("0");
    if which(&["apt-get"]).is_none() || !is_root {
        return Err(Missing(by_hand).into());
    }
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        shell::run(command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet").args(arguments))
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    let installed = apt_get(&["update"]).and_then(|()| apt_get(&install));
    installed.map_err(|error| Missing(format!("{by_hand} ({error})")).into())
}
