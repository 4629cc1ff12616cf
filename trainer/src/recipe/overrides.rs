//! `--set section.key=value`.

use toml::{Table, Value};

use super::RecipeError;

/// Puts one override into the recipe's table, creating sections on the way. Whether the keys exist is checked afterwards, with the file's.
pub(super) fn apply(table: &mut Table, text: &str) -> Result<(), RecipeError> {
    let bad = |reason: &str| RecipeError::Syntax { path: format!("--set {text}"), reason: reason.to_owned() };
    let (key, value) = text.split_once('=').ok_or_else(|| bad("write it as section.key=value"))?;
    let mut parts: Vec<_> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(|| bad("the key is empty"))?;
    let mut section = table;
    for part in parts {
        let next = section.entry(part).or_insert_with(|| Value::Table(Table::new()));
        section = next.as_table_mut().ok_or_else(|| bad(&format!("{part:?} is a value, not a section")))?;
    }
    section.insert(last.to_owned(), parse(value.trim()));
    Ok(())
}

/// TOML if it is TOML, else a string: nobody wants to quote quotes in a shell.
fn parse(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}
