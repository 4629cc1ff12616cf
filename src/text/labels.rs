//! Lists of labels or texts, from a command line or a file.

use super::TextError;

/// Reads a comma-separated list. As in CSV, a label in double quotes may contain commas, and `""` in it stands for one quote:
/// `cat,"salt, pepper","the ""best"" dog"`. Space around a label is dropped.
///
/// # Errors
/// An empty label, a quote that is not closed, or text next to a quoted label.
pub fn parse_labels(list: &str) -> Result<Vec<String>, TextError> {
    let fail = |problem| TextError::Labels { list: list.to_owned(), problem };
    let mut labels = Vec::new();
    let mut rest = list;
    loop {
        let (label, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => take_quoted(quoted).ok_or_else(|| fail("a double quote is not closed"))?,
            None => {
                let (label, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (label.trim().to_owned(), after)
            }
        };
        if label.trim().is_empty() {
            return Err(fail("a label is empty"));
        }
        labels.push(label);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(labels),
            None => return Err(fail("text follows a closing quote; put the whole label in quotes and double the quotes inside")),
        }
    }
}

/// Splits `label" rest`, whose opening quote is gone, at its closing quote.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut label = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        label.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                label.push('"');
                rest = next;
            }
            None => return Some((label, after)),
        }
    }
}

/// Reads a file of labels or texts: a JSON list of strings if `file` ends in `.json`, otherwise UTF-8 text with one per line, where a byte order
/// mark, line ends of any system, space around a line and blank lines do not matter.
///
/// # Errors
/// Invalid UTF-8 or JSON, with its line; or a file without labels.
pub fn parse_label_file(file: &str, bytes: &[u8]) -> Result<Vec<String>, TextError> {
    let fail = |line, problem| TextError::LabelFile { file: file.to_owned(), line, problem };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        fail(1 + valid.iter().filter(|&&byte| byte == b'\n').count(), "not UTF-8; save the file as UTF-8".to_owned())
    })?;
    let labels: Vec<String> = if file.to_ascii_lowercase().ends_with(".json") {
        serde_json::from_str(text).map_err(|error| fail(error.line(), format!("not a JSON list of strings: {error}")))?
    } else {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    if labels.is_empty() { Err(TextError::EmptyLabelFile { file: file.to_owned() }) } else { Ok(labels) }
}
