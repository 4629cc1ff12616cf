//! What Cargo's own files must and must not say.

use super::{SourceFile, Violation};

/// Crates that must exist once: two versions would not share types, or would double the WASM file.
const SINGLE: [&str; 3] = ["wgpu", "naga", "wasm-bindgen"];

pub(super) fn check(file: &SourceFile, _: &[SourceFile]) -> Vec<Violation> {
    match file.path.as_str() {
        "Cargo.lock" => duplicates(file),
        // Training and inference share preprocessing, but the trainer must never need a GPU backend or a command line.
        "trainer/Cargo.toml" => library_without_defaults(file, None),
        "web/Cargo.toml" => library_without_defaults(file, Some("features = [\"gpu\", \"index\"]")),
        _ => Vec::new(),
    }
}

fn duplicates(file: &SourceFile) -> Vec<Violation> {
    let count = |name: &str| file.text.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
    let doubled = SINGLE.iter().filter(|name| count(name) > 1);
    doubled.map(|name| Violation::new(file, 1, format!("{name} is locked in more than one version"))).collect()
}

fn library_without_defaults(file: &SourceFile, features: Option<&str>) -> Vec<Violation> {
    let dependency = file.text.lines().enumerate().find(|(_, line)| line.starts_with("polyglance = "));
    let Some((index, line)) = dependency else { return Vec::new() };
    let right =
        line.contains("default-features = false") && features.map_or(!line.contains("features = ["), |features| line.contains(features));
    let message = format!("it must take polyglance with `default-features = false` and {}", features.unwrap_or("no features"));
    if right { Vec::new() } else { vec![Violation::new(file, index + 1, message)] }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn the_trainer_takes_no_features_and_the_web_only_the_gpu() {
        let line = |features: &str| format!("polyglance = {{ path = \"..\", {features} }}\n");
        let broken = |path: &str, features: &str| check(&file(path, &line(features)), &[]).len();
        assert_eq!(broken("trainer/Cargo.toml", "default-features = false"), 0);
        assert_eq!(broken("trainer/Cargo.toml", "default-features = false, features = [\"gpu\"]"), 1);
        assert_eq!(broken("web/Cargo.toml", "default-features = false, features = [\"gpu\", \"index\"]"), 0);
        assert_eq!(broken("web/Cargo.toml", "features = [\"gpu\", \"index\"]"), 1);
    }

    #[test]
    fn a_second_wgpu_is_found() {
        let lock = "name = \"wgpu\"\nname = \"wgpu-hal\"\n";
        assert!(check(&file("Cargo.lock", lock), &[]).is_empty());
        assert_eq!(check(&file("Cargo.lock", &format!("{lock}name = \"wgpu\"\n")), &[]).len(), 1);
    }
}
