//! Fields of tables that others open.

/// A field that may hold commas, quotes and line ends (RFC 4180), and that no spreadsheet takes for a formula.
pub(super) fn quoted(field: &str) -> String {
    let guard = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", field.replace('"', "\"\""))
}
