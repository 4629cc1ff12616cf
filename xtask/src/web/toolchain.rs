//! A Rust that can compile for wasm32 with `std`'s sources: the engine's threads need a `std` of atomics, which nobody has prebuilt.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    setup,
    shell::{capture, cargo, root, which},
};

pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// How to call cargo for wasm32.
pub(crate) enum Toolchain {
    /// The running toolchain has the sources: `rustup component add rust-src`.
    Own,
    /// Debian's packages in /usr/bin, with a linker that understands WebAssembly.
    Debian {
        /// LLVM's linker, from any Rust toolchain or from Debian's `lld`.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Looks for a toolchain, installing Debian's as a last resort.
    pub(crate) fn find() -> Result<Self> {
        let sysroot = capture(Command::new("rustc").args(["--print", "sysroot"]));
        if sysroot.is_some_and(|folder| Path::new(&folder).join("lib/rustlib/src/rust/library/Cargo.lock").is_file()) {
            return Ok(Self::Own);
        }
        setup::debian_rust()?;
        Ok(Self::Debian { linker: linker()? })
    }

    /// `cargo build` for modules whose threads share one memory and which use relaxed SIMD. Its artifacts stand beside those of the others: cargo
    /// tells them apart by their flags.
    pub(super) fn cargo_with_threads(&self) -> Command {
        let mut command = self.cargo("build");
        command
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-C target-feature=+relaxed-simd,+atomics,+bulk-memory,+mutable-globals");
        command
    }

    /// `cargo <subcommand>` for the target.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Own => cargo([subcommand]),
            Self::Debian { linker } => debian_cargo(subcommand, linker),
        };
        // The variable unlocks -Zbuild-std on a stable compiler.
        command.args(["--target", TARGET, "-Zbuild-std=std,panic_abort"]).env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

fn debian_cargo(subcommand: &str, linker: &Path) -> Command {
    let mut command = if subcommand == "clippy" {
        // `cargo clippy` would find rustup's cargo-clippy in ~/.cargo/bin before Debian's.
        let mut clippy = Command::new("/usr/bin/cargo-clippy");
        clippy.arg("clippy").env("CARGO", "/usr/bin/cargo");
        clippy
    } else {
        let mut cargo = Command::new("/usr/bin/cargo");
        cargo.arg(subcommand).env_remove("CARGO");
        cargo
    };
    let mut path = OsString::from("/usr/bin:");
    path.push(env::var_os("PATH").unwrap_or_default());
    command.current_dir(root()).env("PATH", path).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    // Set by rustup for the toolchain that runs this task; they would pull the wrong compiler in.
    for variable in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "LD_LIBRARY_PATH"] {
        command.env_remove(variable);
    }
    command
}

fn linker() -> Result<PathBuf> {
    let bundled = || {
        let sysroot = PathBuf::from(capture(Command::new("rustc").args(["--print", "sysroot"]))?);
        let host = capture(Command::new("rustc").arg("-vV"))?.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned))?;
        Some(sysroot.join("lib/rustlib").join(host).join("bin/rust-lld")).filter(|file| file.is_file())
    };
    let system = || which(&["rust-lld", "wasm-ld", "wasm-ld-19", "wasm-ld-16", "wasm-ld-14"]);
    if let Some(found) = bundled().or_else(system) {
        return Ok(found);
    }
    setup::lld()?;
    system().context("the lld package is installed, but there is no wasm-ld on the PATH")
}
