//! Lines that people type: one label or phrase each.

use std::sync::Arc;

use eframe::egui::{Response, TextEdit, Ui};

use super::bidi;

/// More would be a list for the command line.
pub(super) const MAX_LABELS: usize = 1000;

/// Labels as text, and as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    text: String,
    /// Shared with the questions that are asked about it: those are compared in every frame.
    list: Arc<[String]>,
}

impl Labels {
    pub(super) fn new(lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
        let text = lines.join("\n");
        Self { list: list_of(&text), text }
    }

    /// The labels, without blank lines and repetitions.
    pub(super) fn list(&self) -> &[String] {
        &self.list
    }

    /// The same, for a question to keep.
    pub(super) fn shared(&self) -> Arc<[String]> {
        Arc::clone(&self.list)
    }

    pub(super) fn edit(&mut self, ui: &mut Ui, hint: &str, rows: usize) -> Response {
        // Its id does not depend on what comes and goes above it: the focus stays, and so does what an input method is composing.
        let mut layouter = bidi::layouter(true);
        let editor = TextEdit::multiline(&mut self.text).layouter(&mut layouter).id_salt("labels").hint_text(hint);
        let response = bidi::field(ui, editor.desired_rows(rows).desired_width(f32::INFINITY));
        if response.changed() {
            self.list = list_of(&self.text);
        }
        response
    }
}

/// Each text as a label of its own, as the engine wants them.
pub(super) fn alone(texts: &[String]) -> Vec<Vec<String>> {
    texts.iter().map(|text| vec![text.clone()]).collect()
}

fn list_of(text: &str) -> Arc<[String]> {
    let mut list: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if list.len() < MAX_LABELS && !list.iter().any(|known| known == line) {
            list.push(line.to_owned());
        }
    }
    list.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_labels_once_each() {
        assert_eq!(Labels::new(["  a cat ", "", "猫", "a cat"]).list(), ["a cat", "猫"]);
        assert_eq!(Labels::new((0..2000).map(|number| number.to_string())).list().len(), MAX_LABELS);
    }
}
