//! Every shader opens with the same header, so that one can be read without the others.

use super::{SourceFile, Violation};

/// Fields of the header, each at the start of a line or in a second column.
const FIELDS: [&str; 5] = ["in", "out", "grid", "math", "twin"];

pub(super) fn check(file: &SourceFile, files: &[SourceFile]) -> Vec<Violation> {
    let Some(name) = file.path.strip_suffix(".wgsl").and_then(|path| path.rsplit('/').next()) else { return Vec::new() };
    let mut violations = Vec::new();
    if !file.text.starts_with(&format!("// {name} — ")) {
        violations.push(Violation::new(file, 1, format!("the first line must be `// {name} — ` and what the kernel computes")));
    }
    // Includes have no bindings, grid or twin of their own.
    if file.path.contains("/shared/") {
        return violations;
    }
    let header: Vec<&str> = file.text.lines().map_while(|line| line.strip_prefix("//")).collect();
    for field in FIELDS {
        if !header.iter().any(|line| has_field(line, field)) {
            violations.push(Violation::new(file, 1, format!("the header has no `{field}`")));
        }
    }
    let twin = header.iter().find_map(|line| line.trim().strip_prefix("twin")?.split_whitespace().next());
    if let Some(twin) = twin.filter(|twin| files.iter().all(|file| file.path != *twin)) {
        violations.push(Violation::new(file, 1, format!("its twin {twin} does not exist")));
    }
    violations
}

fn has_field(line: &str, field: &str) -> bool {
    let columns = line.split("  ").map(str::trim_start);
    columns.filter_map(|column| column.strip_prefix(field)).any(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const GOOD: &str = "\
// softmax — y = exp(x - max) / sum
//
// in    x: f32[rows, dim]        out  y: f32[rows, dim]
// grid  one workgroup per row
// math  f32
// twin  src/kernels/softmax.rs
@compute fn main() {}
";

    fn messages(path: &str, text: &str) -> Vec<String> {
        let files = [file("src/kernels/softmax.rs", "")];
        check(&file(path, text), &files).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn a_whole_header_passes_and_each_missing_part_is_named() {
        assert!(messages("shaders/softmax.wgsl", GOOD).is_empty());
        assert_eq!(messages("shaders/other.wgsl", GOOD).len(), 1);
        assert_eq!(messages("shaders/softmax.wgsl", &GOOD.replace("out ", "to ")), ["the header has no `out`"]);
        assert_eq!(messages("shaders/softmax.wgsl", &GOOD.replace("softmax.rs", "none.rs")).len(), 1);
        assert_eq!(messages("shaders/softmax.wgsl", "// softmax — y\nfn f() {}\n// grid  late").len(), FIELDS.len());
        assert!(messages("shaders/shared/fold.wgsl", "// fold — row of a workgroup\nfn f() {}").is_empty());
    }
}
