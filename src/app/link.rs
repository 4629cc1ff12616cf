//! Values in a link's fragment: `name=value&name=value`, percent-encoded.

use std::fmt::Write;

/// Longer fragments are not read: no link of ours is.
const MAX_LENGTH: usize = 16 << 10;

/// A fragment of these values.
pub(super) fn fragment(values: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
    values.iter().map(part).collect::<Vec<_>>().join("&")
}

/// A value of a fragment, if it is there and well encoded.
pub(super) fn value(fragment: &str, name: &str) -> Option<String> {
    let fragment = fragment.trim_start_matches('#');
    let parts = fragment.split('&').filter(|_| fragment.len() <= MAX_LENGTH);
    let encoded = parts.filter_map(|part| part.split_once('=')).find(|(own, _)| *own == name)?.1;
    decoded(encoded)
}

/// Letters and digits of every script stay as they are: browsers show them in their address bar.
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for letter in value.chars() {
        if letter.is_alphanumeric() || matches!(letter, ',' | ';' | '.' | '-' | '_') {
            encoded.push(letter);
        } else {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_link() {
        let words = "a dog & 100 %\n猫=#\u{1f431}";
        let link = fragment(&[("stage", "1.50,2;x"), ("words", words)]);
        assert!(!link.contains([' ', '#', '\n']) && link.contains("猫"));
        assert_eq!(value(&format!("#{link}"), "words").as_deref(), Some(words));
        assert_eq!(value(&link, "stage").as_deref(), Some("1.50,2;x"));
    }

    #[test]
    fn damaged_links_are_no_values() {
        for link in ["", "words", "words=%", "words=%f", "words=%zz", "words=%ff%fe", "word=x"] {
            assert_eq!(value(link, "words"), None, "{link}");
        }
        assert_eq!(value(&format!("words={}", "a".repeat(MAX_LENGTH)), "words"), None);
    }
}
