//! Whether an answer is the part of a file that was asked for.

/// Whether a `Content-Range` is exactly the one asked for: bytes from `start` to `end`, which is the file's own end if there is none, of a file of
/// `size` bytes.
pub fn is_content_range(value: &str, start: u64, end: Option<u64>, size: Option<u64>) -> bool {
    let parse = || {
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total_fits = total == "*" || size.is_none_or(|size| total.parse() == Ok(size));
        let last_fits = end.is_none_or(|end| last.parse::<u64>().ok().and_then(|last| last.checked_add(1)) == Some(end));
        Some(first.parse() == Ok(start) && total_fits && last_fits)
    };
    parse() == Some(true)
}
