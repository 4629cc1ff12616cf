//! What the test command counts, and what it prints at the end.

use std::{fmt::Write, ops::AddAssign, time::Duration};

/// Single tests, as the runners' closing lines count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Reads cargo's `test result: ok. 3 passed; 0 failed; 1 ignored; …`; `None` for every other line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let results = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |name: &str| results.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok());
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }

    /// Reads one of the lines `# pass 3`, `# fail 0` and `# skipped 0` that close TAP output as node writes it; nothing from every other line.
    pub(crate) fn parse_tap(line: &str) -> Self {
        let count = |name: &str| line.strip_prefix(name).and_then(|rest| rest.parse().ok()).unwrap_or(0);
        Self { passed: count("# pass "), failed: count("# fail "), skipped: count("# skipped ") }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// How a suite ended.
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// One suite's line in the summary.
pub(crate) struct Entry {
    pub(crate) suite: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
}

/// The table of suites and, as the last line, the sum of single tests in the form that CI reads.
///
/// A failed suite without single tests (a lint, a build) counts as one failure, so the closing line never claims success over it.
pub(crate) fn summary(entries: &[Entry], counts: Counts) -> String {
    let mut text = String::from("\nSuites\n");
    for Entry { suite, outcome, duration } in entries {
        let (word, detail) = match outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Skipped(reason) => ("SKIPPED", reason.as_str()),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
        };
        let separator = if detail.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "  {suite:<12} {:>7.1} s  {word}{separator}{}", duration.as_secs_f64(), detail.replace('\n', "\n      "));
    }
    let failed_suites = entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Failed(_))).count() as u64;
    let Counts { passed, failed, skipped } = counts;
    let _ = write!(text, "\n{passed} passed, {} failed, {skipped} skipped", failed.max(failed_suites));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_result_lines_are_summed() {
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ];
        let mut sum = Counts::default();
        lines.iter().filter_map(|line| Counts::parse(line)).for_each(|counts| sum += counts);
        assert_eq!(sum, Counts { passed: 7, failed: 2, skipped: 1 });
    }

    #[test]
    fn nodes_closing_lines_are_summed() {
        let mut sum = Counts::default();
        ["ok 1 - starts", "# tests 4", "# pass 2", "# fail 1", "# skipped 1"].iter().for_each(|line| sum += Counts::parse_tap(line));
        assert_eq!(sum, Counts { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_failed_lint_shows_in_the_closing_line() {
        let entry = |suite, outcome| Entry { suite, outcome, duration: Duration::from_millis(1500) };
        let entries = [entry("fmt", Outcome::Failed("unformatted".into())), entry("deny", Outcome::Skipped("no tool".into()))];
        let text = summary(&entries, Counts { passed: 5, failed: 0, skipped: 0 });
        assert!(text.contains("1.5 s  FAILED: unformatted") && text.contains("SKIPPED: no tool"));
        assert_eq!(text.lines().last(), Some("5 passed, 1 failed, 0 skipped"));
    }
}
