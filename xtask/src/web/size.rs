//! Which crates a WASM file's code comes from.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// Bytes of code by crate, the largest first. A generic function counts for the crate that it is written in.
pub(super) fn by_crate(wasm: &Path) -> Result<Vec<(String, usize)>> {
    let bytes = fs::read(wasm).with_context(|| format!("{} could not be read", wasm.display()))?;
    let (mut imported, mut sizes, mut names) = (0, Vec::new(), BTreeMap::new());
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += usize::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::CodeSectionEntry(body) => sizes.push(body.range().len()),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(sections) = section.as_known() else { continue };
                for section in sections {
                    let Name::Function(functions) = section? else { continue };
                    for naming in functions {
                        let naming = naming?;
                        names.insert(naming.index as usize, crate_of(naming.name));
                    }
                }
            }
            _ => {}
        }
    }
    let mut by_crate = BTreeMap::new();
    for (index, size) in sizes.into_iter().enumerate() {
        let name = names.get(&(imported + index)).cloned().unwrap_or_else(|| "unnamed".to_owned());
        *by_crate.entry(name).or_default() += size;
    }
    let mut sorted: Vec<(String, usize)> = by_crate.into_iter().collect();
    sorted.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    Ok(sorted)
}

/// The first crate of a function's path: `egui` of `<egui::Ui as core::fmt::Debug>::fmt`.
fn crate_of(symbol: &str) -> String {
    let path = format!("{:#}", rustc_demangle::demangle(symbol));
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    path.trim_start_matches(|letter| !is_part(letter)).split(|letter| !is_part(letter)).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_the_crate_that_they_are_written_in() {
        assert_eq!(crate_of("_ZN4egui2ui2Ui5label17h0123456789abcdefE"), "egui");
        assert_eq!(crate_of("<egui::Ui as core::fmt::Debug>::fmt"), "egui");
        assert_eq!(crate_of("memcpy"), "memcpy");
    }
}
