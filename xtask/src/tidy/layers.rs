//! Edges between the library's modules point one way only.

use super::{
    SourceFile, Violation,
    syntax::{code_only, line_of, occurrences},
};

/// From the bottom up. A module may name modules of lower rows, and itself.
const LAYERS: [&[&str]; 9] = [
    &["limits", "platform"],
    &["config"],
    &["image", "text", "weights", "kernels"],
    &["gpu", "cpu"],
    &["encoder"],
    &["tasks"],
    &["index"],
    &["engine"],
    &["cli", "app"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

pub(super) fn check(file: &SourceFile, _: &[SourceFile]) -> Vec<Violation> {
    let Some(module) = module_of(&file.path) else { return Vec::new() };
    let Some(own_layer) = layer(module) else {
        return vec![Violation::new(file, 1, format!("module `{module}` has no layer; give it one in xtask/src/tidy/layers.rs"))];
    };
    let code = code_only(&file.text);
    let mut violations = Vec::new();
    for at in occurrences(&code, "crate::") {
        for name in first_names(&code[at + "crate::".len()..]) {
            let message = match layer(name) {
                _ if name == module => continue,
                Some(other) if other < own_layer => continue,
                Some(_) => format!("`{module}` may not use `{name}`: edges point from upper layers to lower ones only"),
                None => format!("`crate::{name}` hides an edge between modules; name it by its module"),
            };
            violations.push(Violation::new(file, line_of(&code, at), message));
        }
    }
    violations
}

/// `image` of `src/image.rs` and of `src/image/decode.rs`. The two roots tie everything together and have no layer.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module = inside.split('/').next()?;
    (module != "lib" && inside != "main").then_some(module)
}

/// The modules that `a::b`, or `{a, b::{c, d}}`, starts with.
fn first_names(path: &str) -> Vec<&str> {
    let name = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = Some(0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = Some(at + 1),
            c if start.is_some() && !c.is_whitespace() && depth == 0 => {
                names.push(&group[at..at + name(&group[at..])]);
                start = None;
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&file(path, text), &[]).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn upward_and_sideways_edges_are_found() {
        assert!(messages("src/image/decode.rs", "use crate::{config::VisionConfig, limits, image::Grid};").is_empty());
        assert_eq!(messages("src/image/decode.rs", "use crate::{\n    config::{A, B},\n    text::Tokens,\n    encoder,\n};").len(), 2);
        assert_eq!(messages("src/gpu/device.rs", "fn f() { crate::cpu::run() }").len(), 1);
        assert!(messages("src/cli.rs", "use crate::encoder::Encoder; // crate::app").is_empty());
    }

    #[test]
    fn every_module_has_a_layer_and_every_edge_a_name() {
        assert_eq!(messages("src/helpers.rs", "").len(), 1);
        assert_eq!(messages("src/tasks/search.rs", "use crate::Encoder;").len(), 1);
        assert!(messages("src/lib.rs", "pub use crate::cli::run;").is_empty());
        assert!(messages("web/src/lib.rs", "use crate::anything;").is_empty());
    }
}
