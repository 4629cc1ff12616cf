//! Labels and texts from files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use polyglance::text::parse_label_file;

/// Longest list of texts, in bytes: room for a million captions.
const LIST_BYTES: u64 = 64 << 20;

/// Reads a `.json` list of strings, or one label or text a line.
///
/// # Errors
/// A file that cannot be read, is too long, not UTF-8, not a JSON list of strings, or empty.
pub(crate) fn read_list(path: &Path) -> Result<Vec<String>> {
    let name = path.display().to_string();
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    if bytes > LIST_BYTES {
        bail!("{name} has {bytes} bytes, more than the {LIST_BYTES} of a list of texts; split it");
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    Ok(parse_label_file(&name, &bytes)?)
}
