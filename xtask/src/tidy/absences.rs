//! Names that must not occur outside the files made for them.

use super::{
    SourceFile, Violation,
    syntax::{code_only, line_of, occurrences},
};

/// The words may occur in `allowed` paths only, among the Rust files under `scope`.
struct Absence {
    words: &'static [&'static str],
    scope: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

/// Where native files are opened. In `weights` this stands under `cfg`, which web/clippy.toml checks.
const NATIVE: [&str; 9] = [
    "src/platform",
    "src/cli",
    "src/index/disk",
    "src/main.rs",
    "src/weights/checkpoint.rs",
    "src/weights/companions.rs",
    "src/weights/hub/native",
    "src/weights/source.rs",
    "src/weights/write.rs",
];

const ABSENCES: [Absence; 6] = [
    Absence {
        words: &["Instant", "SystemTime"],
        scope: "src/",
        allowed: &["src/platform", "src/cli", "src/main.rs"],
        reason: "std's clocks panic in a browser; use crate::platform",
    },
    Absence {
        words: &["thread::spawn", "thread::scope", "thread::Builder", "rayon::spawn"],
        scope: "src/",
        allowed: &["src/platform", "src/cli", "src/main.rs"],
        reason: "a browser has no threads to spawn; use crate::platform",
    },
    Absence {
        words: &["fs::", "File::open", "File::create"],
        scope: "src/",
        allowed: &NATIVE,
        reason: "a browser has no file system; take bytes or a ByteSource",
    },
    Absence {
        words: &["block_on"],
        scope: "src/",
        allowed: &["src/platform", "src/cli", "src/engine", "src/index/chroma.rs", "src/main.rs"],
        reason: "blocking deadlocks a browser tab; only cli, engine and what no page has may block",
    },
    Absence {
        words: &["wgpu", "naga"],
        scope: "src/",
        allowed: &["src/gpu", "src/platform"],
        reason: "only src/gpu/ may know wgpu, and src/platform/ to wait for it",
    },
    Absence { words: &["burn"], scope: "", allowed: &["trainer/"], reason: "only the trainer may know burn" },
];

pub(super) fn check(file: &SourceFile, _: &[SourceFile]) -> Vec<Violation> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let applies =
        |absence: &&Absence| file.path.starts_with(absence.scope) && !absence.allowed.iter().any(|allowed| file.path.starts_with(allowed));
    let mut violations = Vec::new();
    for absence in ABSENCES.iter().filter(applies) {
        for word in absence.words {
            for at in occurrences(&code, word) {
                violations.push(Violation::new(file, line_of(&code, at), format!("`{word}` stands here: {}", absence.reason)));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&file(path, text), &[]).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn clocks_threads_and_files_stay_in_their_places() {
        let text = "use std::time::{Duration, Instant};\nstd::thread::spawn(f);\nstd::fs::read(p);\npollster::block_on(f);\n";
        assert_eq!(lines("src/encoder/mod.rs", text), [1, 2, 3, 4]);
        assert!(lines("src/platform/native.rs", text).is_empty());
        assert!(lines("src/weights/source.rs", "std::fs::read(p)").is_empty());
        assert!(lines("tests/cli.rs", text).is_empty());
    }

    #[test]
    fn wgpu_stays_in_gpu() {
        assert_eq!(lines("src/cli/doctor.rs", "fn f(a: wgpu::Adapter) {}"), [1]);
        assert!(lines("src/gpu/device.rs", "fn f(a: wgpu::Adapter) {}").is_empty());
        assert!(lines("src/cpu/gemm.rs", "//! Unlike wgpu.\nlet x = \"wgpu\";").is_empty());
        assert!(lines("src/cli/doctor.rs", "let wgpu_free = 1;").is_empty());
    }
}
