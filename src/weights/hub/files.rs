//! Which files of a repository make a checkpoint.

use super::reference::is_name;
use crate::weights::safetensors::is_shard_name;

/// Small files that a checkpoint may have beside its weights, as Polyglance reads them.
pub const CHECKPOINT_FILES: [&str; 4] = ["config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json"];
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files to download: those of `small` that there are, then the weights; `None` if there are no weights. Names are checked because
/// they become paths.
pub fn needed<'a>(files: &'a [String], small: &[&'a str]) -> Option<Vec<&'a str>> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let plain = || files.iter().map(String::as_str).filter(|name| is_name(name));
    let archives: Vec<&str> = plain().filter(|name| name.ends_with(".npz")).collect();
    let mut names: Vec<&str> = small.iter().copied().filter(|name| has(name)).collect();
    if has(SINGLE) {
        names.push(SINGLE);
    } else if has(INDEX) {
        names.push(INDEX);
        names.extend(plain().filter(|name| name.starts_with("model-") && is_shard_name(name)));
    } else if let [archive] = archives.as_slice() {
        names.push(archive);
    } else {
        return None;
    }
    Some(names)
}
