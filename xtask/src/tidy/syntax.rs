//! Just enough of Rust's lexical grammar to tell code from comments and strings.

/// The text with comments, string contents and in-file test modules blanked. Line numbers are kept.
pub(super) fn code_only(text: &str) -> String {
    let mut rest = before_tests(text);
    let mut code = String::with_capacity(rest.len());
    while let Some(first) = rest.chars().next() {
        let (kept, blanked) = token(rest, &code);
        code.push_str(&rest[..kept]);
        code.extend(rest[kept..blanked].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[blanked.max(first.len_utf8())..];
    }
    code
}

/// Tests may do what the module may not (open files, start threads); by convention they end the file.
fn before_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |start| &text[..start])
}

/// How many bytes of `rest` are code to keep, and where the text to blank after them ends.
fn token(rest: &str, before: &str) -> (usize, usize) {
    let end_of = |pattern: &str, from: usize| rest[from..].find(pattern).map_or(rest.len(), |at| from + at + pattern.len());
    if rest.starts_with("//") {
        return (0, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (0, end_of("*/", 2));
    }
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && (!in_word || before.ends_with('b')) {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        if rest[1 + hashes..].starts_with('"') {
            return (0, end_of(&format!("\"{}", "#".repeat(hashes)), 2 + hashes));
        }
    }
    if let Some(string) = rest.strip_prefix('"') {
        return (0, 1 + quoted_len(string, '"'));
    }
    if rest.starts_with('\'') {
        return (0, char_literal_len(rest));
    }
    let first = rest.chars().next().map_or(0, char::len_utf8);
    (first, first)
}

/// Bytes up to and including the closing quote.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of `'x'` or `'\n'`; 1 for the quote of a lifetime.
fn char_literal_len(rest: &str) -> usize {
    let mut chars = rest[1..].char_indices();
    match chars.next() {
        Some((_, '\\')) => 1 + quoted_len(&rest[1..], '\''),
        Some((_, c)) if rest[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// Byte offsets at which `word` stands in `code` as whole identifiers (`Instant` is not in `Instants`).
pub(super) fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let joined_before = word.starts_with(joins) && code[..at].ends_with(joins);
        let joined_after = word.ends_with(joins) && code[at + word.len()..].starts_with(joins);
        !joined_before && !joined_after
    })
}

/// The line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_tests_are_blanked() {
        let text = "a; // wgpu\n/* wgpu\n */ b(\"wgpu \\\" wgpu\"); c(r#\"wgpu\" \"#, b\"wgpu\", br\"wgpu\");\n#[cfg(test)]\nmod tests {\n use wgpu;\n}\n";
        let code = code_only(text);
        assert!(!code.contains("wgpu"), "{code}");
        assert!(code.contains("a;") && code.contains("b(") && code.contains("c(") && code.contains(");"));
        assert_eq!(code.lines().count(), 3);
    }

    #[test]
    fn lifetimes_do_not_open_a_literal() {
        let code = code_only("fn f<'a>(x: &'a str) -> wgpu::Buffer { g('\"', '\\'', 'é') } // end");
        assert!(code.contains("wgpu::Buffer") && code.ends_with("}       "), "{code}");
    }

    #[test]
    fn words_are_found_whole() {
        assert_eq!(occurrences("Instant Instants MyInstant x::Instant::now", "Instant").collect::<Vec<_>>(), [0, 30]);
        assert_eq!(occurrences("std::fs::read(fs::x)", "fs::").count(), 2);
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
