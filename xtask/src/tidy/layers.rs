//! Edges between the library's modules point one way only.

use super::{
    SourceFile, Violation,
    syntax::{code_only, line_of, occurrences},
};

/// From the bottom up. A module may name modules of lower rows, and itself. A submodule with a row of its own counts apart from its parent.
const LAYERS: [&[&str]; 11] = [
    &["limits", "platform"],
    &["config"],
    &["kernels"],
    &["image", "text", "weights"],
    &["encoder::plan"],
    &["gpu", "cpu"],
    &["encoder"],
    &["tasks", "demo"],
    &["index"],
    &["engine"],
    &["cli", "app"],
];

/// The row of the longest module that `path` (`a::b::Name`) is in, and that module.
fn layer(path: &str) -> Option<(usize, &'static str)> {
    let inside = |module: &str| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let rows = LAYERS.iter().enumerate();
    rows.flat_map(|(row, modules)| modules.iter().map(move |module| (row, *module)))
        .filter(|(_, module)| inside(module))
        .max_by_key(|(_, module)| module.len())
}

pub(super) fn check(file: &SourceFile, _: &[SourceFile]) -> Vec<Violation> {
    let Some(own_path) = module_path(&file.path) else { return Vec::new() };
    let Some((own_row, own_module)) = layer(&own_path) else {
        return vec![Violation::new(file, 1, format!("module `{own_path}` has no layer; give it one in xtask/src/tidy/layers.rs"))];
    };
    let code = code_only(&file.text);
    let mut violations = Vec::new();
    for at in occurrences(&code, "crate::") {
        for used in expand(&code[at + "crate::".len()..]) {
            let message = match layer(&used) {
                Some((row, module)) if row < own_row || module == own_module => continue,
                Some((_, module)) => format!("`{own_module}` may not use `{module}`: edges point from upper layers to lower ones only"),
                None => format!("`crate::{used}` hides an edge between modules; name it by its module"),
            };
            violations.push(Violation::new(file, line_of(&code, at), message));
        }
    }
    violations
}

/// `image::decode` of `src/image/decode.rs`. The two roots tie everything together and have no layer.
fn module_path(path: &str) -> Option<String> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module = inside.strip_suffix("/mod").unwrap_or(inside);
    (module != "lib" && module != "main").then(|| module.replace('/', "::"))
}

/// Every path of a use tree: `a::{b, c::{d, e}}` gives `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        return items(group).into_iter().flat_map(expand).collect();
    }
    let (name, rest) = tree.split_at(tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len()));
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest).into_iter().map(|path| format!("{name}::{path}")).collect(),
        None => vec![name.to_owned()],
    }
}

/// What stands between the commas of a group, up to its closing brace.
fn items(group: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&file(path, text), &[]).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn use_trees_are_expanded() {
        assert_eq!(expand("a::b;"), ["a::b"]);
        assert_eq!(expand("{a, b::{c,\n d::{e, f}},\n};"), ["a", "b::c", "b::d::e", "b::d::f"]);
    }

    #[test]
    fn upward_and_sideways_edges_are_found() {
        assert!(messages("src/image/decode.rs", "use crate::{config::VisionConfig, limits, image::Grid};").is_empty());
        assert_eq!(messages("src/image/decode.rs", "use crate::{\n    config::{A, B},\n    text::Tokens,\n    encoder,\n};").len(), 2);
        assert_eq!(messages("src/gpu/device.rs", "fn f() { crate::cpu::run() }").len(), 1);
        assert!(messages("src/cli.rs", "use crate::encoder::Encoder; // crate::app").is_empty());
    }

    #[test]
    fn backends_see_the_plan_but_not_the_encoder() {
        assert!(messages("src/cpu/mod.rs", "use crate::encoder::plan::{Plan, Step};").is_empty());
        assert_eq!(messages("src/cpu/mod.rs", "use crate::encoder::{Encoder, plan::Plan};").len(), 1);
        assert_eq!(messages("src/encoder/plan.rs", "use crate::encoder::Encoder;").len(), 1);
        assert!(messages("src/encoder/mod.rs", "use crate::{cpu, encoder::plan::Plan};").is_empty());
    }

    #[test]
    fn every_module_has_a_layer_and_every_edge_a_name() {
        assert_eq!(messages("src/helpers.rs", "").len(), 1);
        assert_eq!(messages("src/tasks/search.rs", "use crate::Encoder;").len(), 1);
        assert!(messages("src/lib.rs", "pub use crate::cli::run;").is_empty());
        assert!(messages("web/src/lib.rs", "use crate::anything;").is_empty());
    }
}
