//! Plain-text tables, and numbers that are easy to compare.

use std::fmt::Write as _;

/// A table whose first column is text, aligned left, and whose others are numbers, aligned right.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading for each column.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as lines, each indented by two spaces.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widest = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or_default()).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, (cell, widest)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(widest - width(cell));
                // Writing to a String cannot fail.
                let _ = if column == 0 { write!(line, " {cell}{gap}") } else { write!(line, "  {gap}{cell}") };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Columns a terminal needs for `text`: two for each wide East Asian character or emoji, so that labels in any script line up.
fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f
            | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// A fraction of one as `0.1234`, or `1.2e-5` where that would show nothing.
pub(crate) fn fraction(value: f32) -> String {
    if value != 0.0 && value.abs() < 1e-4 { format!("{value:.1e}") } else { format!("{value:.4}") }
}

/// A count with spaces between thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the decimal units that disks and download sizes use.
pub(crate) fn bytes(count: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let value = count as f64;
    units
        .into_iter()
        .find(|(size, _)| value >= *size)
        .map_or_else(|| format!("{count} B"), |(size, unit)| format!("{:.2} {unit}", value / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_any_script() {
        let mut table = Table::new(&["label", "logit"]);
        table.row(["a cat".to_owned(), "-1.5".to_owned()]);
        table.row(["一只猫".to_owned(), "10.25".to_owned()]);
        assert_eq!(table.render(), "  label   logit\n  a cat    -1.5\n  一只猫  10.25\n");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([fraction(0.5), fraction(0.0), fraction(1e-4), fraction(1.24e-7)], ["0.5000", "0.0000", "0.0001", "1.2e-7"]);
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(375_234_050)], ["0", "999", "1 000", "375 234 050"]);
        assert_eq!([bytes(0), bytes(1_000), bytes(1_500_936_200)], ["0 B", "1.00 kB", "1.50 GB"]);
    }
}
