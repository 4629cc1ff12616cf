//! Errors about keys: what was meant, and what differs between two recipes.

use serde_path_to_error::Segment;
use toml::Value;

use super::RecipeError;

/// Names differ by at least this similarity to be worth suggesting.
const SIMILAR: f64 = 0.6;

/// An error of serde, told with the full key and the nearest right one.
pub(super) fn explain(path: &str, error: &serde_path_to_error::Error<toml::de::Error>) -> RecipeError {
    let message = error.inner().message();
    let dotted = dotted(error.path());
    let Some(rest) = message.strip_prefix("unknown field ") else {
        let key = if dotted.is_empty() { "the recipe".to_owned() } else { dotted };
        return RecipeError::Value { path: path.to_owned(), key, reason: message.to_owned() };
    };
    // serde lists the unknown field and then the known ones, each in backticks.
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let section = dotted.strip_suffix(unknown).unwrap_or(&dotted).trim_end_matches('.');
    let full = |key: &str| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    let known: Vec<String> = quoted.map(full).collect();
    let key = full(unknown);
    let suggestion = nearest(&key, &known);
    RecipeError::UnknownKey { path: path.to_owned(), key, suggestion, known }
}

fn dotted(path: &serde_path_to_error::Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } if text.is_empty() => text.push_str(key),
            Segment::Map { key } => text.push_str(&format!(".{key}")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

fn nearest(key: &str, known: &[String]) -> Option<String> {
    let similarity = |candidate: &String| strsim::jaro_winkler(last(key), last(candidate));
    known.iter().filter(|candidate| similarity(candidate) > SIMILAR).max_by(|a, b| similarity(a).total_cmp(&similarity(b))).cloned()
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The end of the message about an unknown key.
pub(super) fn hint(suggestion: Option<&str>, known: &[String]) -> String {
    match suggestion {
        Some(key) => format!("; did you mean {key:?}?"),
        None => format!("; known here: {}", known.join(", ")),
    }
}

/// Lists leaves that differ, as `key: old → new`.
pub(super) fn compare(key: &str, old: &Value, new: &Value, differences: &mut Vec<String>) {
    if let (Value::Table(old), Value::Table(new)) = (old, new) {
        let missing = Value::String("(default)".to_owned());
        let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            compare(&key, old.get(name).unwrap_or(&missing), new.get(name).unwrap_or(&missing), differences);
        }
    } else if old != new {
        differences.push(format!("{key}: {old} → {new}"));
    }
}
