//! Results as JSON and as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::altered::Altered;
use super::exam::Marks;
use super::fitting::Fitting;
use super::interval::Estimate;
use super::segmentation::Segmentation;

/// A whole evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was judged.
    pub model: String,
    /// What it was judged on.
    pub data: String,
    /// Images in the exam.
    pub images: usize,
    /// Examples that could not be used.
    pub skipped: usize,
    /// One row per way of preparing images, and the floors.
    pub rows: Vec<Row>,
    /// Native against the other fittings at equal budgets.
    pub comparisons: Vec<Comparison>,
    /// The model's segmentation by language, if it was asked for.
    pub segmentation: Vec<Segmentation>,
    /// Pictures found by what they were altered to, if that was asked for.
    pub altered: Vec<Altered>,
}

/// The marks of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The model, or a floor.
    pub name: String,
    /// How images were fitted; `None` for a floor that has no patches.
    pub fitting: Option<Fitting>,
    /// Most patches of an image; `None` for the model's own number.
    pub max_num_patches: Option<usize>,
    /// Patches of an image, on average.
    pub mean_patches: f64,
    /// The marks.
    pub marks: Marks,
}

/// The native fitting against another one, image by image over all languages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Most patches of an image.
    pub max_num_patches: Option<usize>,
    /// What native is compared with.
    pub with: Fitting,
    /// `zero_shot`, `text_to_image` or `image_to_text`, each at 1.
    pub measure: &'static str,
    /// `all`, or `elongated`: sides in a ratio of 3 or more.
    pub subset: &'static str,
    /// Images with such questions.
    pub images: usize,
    /// Mean of the native fitting.
    pub native: f64,
    /// Mean of the other one.
    pub other: f64,
    /// Their difference, with the interval of a paired bootstrap over images.
    pub difference: Estimate,
}

impl Report {
    /// The tables of a model card.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("{} on {}: {} images", self.model, self.data, self.images);
        if self.skipped > 0 {
            let _ = write!(text, ", {} skipped", self.skipped);
        }
        text.push_str(".\nShares in %, with 95 % intervals. Ties count as wrong.\n");
        self.zero_shot(&mut text);
        self.retrieval(&mut text);
        self.compare(&mut text);
        self.segment(&mut text);
        self.find_altered(&mut text);
        text
    }

    fn zero_shot(&self, text: &mut String) {
        let rows = || self.rows.iter().flat_map(|row| row.marks.zero_shot().map(move |marks| (row, marks)));
        if rows().next().is_none() {
            return;
        }
        text.push_str(
            "\n## Zero-shot classification\n\n| what | language | classes | images | top-1 | chance |\n|---|---|---:|---:|---:|---:|\n",
        );
        for (row, (language, marks)) in rows() {
            let (top_1, chance) = (percent(&marks.top_1), 100.0 * marks.chance);
            let _ = writeln!(text, "| {} | {language} | {} | {} | {top_1} | {chance:.2} |", row.title(), marks.classes, marks.images);
        }
    }

    fn retrieval(&self, text: &mut String) {
        let rows = || self.rows.iter().flat_map(|row| row.marks.retrieval().map(move |marks| (row, marks)));
        if rows().next().is_none() {
            return;
        }
        text.push_str(
            "\n## Retrieval\n\n| what | language | images | captions | direction | recall@1 | recall@5 | recall@10 | chance@1 |\n",
        );
        text.push_str("|---|---|---:|---:|---|---:|---:|---:|---:|\n");
        for (row, (language, marks)) in rows() {
            for (direction, recall) in [("text → image", &marks.text_to_image), ("image → text", &marks.image_to_text)] {
                let [at_1, at_5, at_10] = [&recall.at_1, &recall.at_5, &recall.at_10].map(percent);
                let (title, chance) = (row.title(), 100.0 * recall.chance[0]);
                let (images, captions) = (marks.images, marks.captions);
                let _ = writeln!(
                    text,
                    "| {title} | {language} | {images} | {captions} | {direction} | {at_1} | {at_5} | {at_10} | {chance:.2} |"
                );
            }
        }
    }

    fn compare(&self, text: &mut String) {
        if self.comparisons.is_empty() {
            return;
        }
        text.push_str("\n## Native aspect ratio against other fittings, at equal budgets, mean over languages\n\n");
        text.push_str("| patches | against | measure | images | native | other | difference |\n|---:|---|---|---|---:|---:|---:|\n");
        for comparison in &self.comparisons {
            let Comparison { with, measure, subset, images, native, other, difference, .. } = comparison;
            let patches = comparison.max_num_patches.map_or("own".to_owned(), |patches| patches.to_string());
            let (with, native, other) = (with.name(), 100.0 * native, 100.0 * other);
            let difference = signed(difference);
            let _ = writeln!(text, "| {patches} | {with} | {measure} | {subset} ({images}) | {native:.1} | {other:.1} | {difference} |");
        }
    }

    fn segment(&self, text: &mut String) {
        if self.segmentation.is_empty() {
            return;
        }
        text.push_str("\n## Segmentation of scenes by the names of what is on them, mean intersection over union\n\n");
        text.push_str("| language | scenes | classes | model | chance | largest thing |\n|---|---:|---:|---:|---:|---:|\n");
        for Segmentation { language, scenes, classes, model, chance, largest } in &self.segmentation {
            let [model, chance, largest] = [model, chance, largest].map(|share| 100.0 * share);
            let _ = writeln!(text, "| {language} | {scenes} | {classes} | {model:.1} | {chance:.1} | {largest:.1} |");
        }
    }

    fn find_altered(&self, text: &mut String) {
        if self.altered.is_empty() {
            return;
        }
        text.push_str("\n## Pictures found by a part of them, or by their mirror image\n\n");
        text.push_str("| looked for by | pictures | recall@1 | recall@5 | recall@10 | chance@1 |\n|---|---:|---:|---:|---:|---:|\n");
        for (how, images, recall) in self.altered.iter().map(Altered::cells) {
            let [at_1, at_5, at_10] = [&recall.at_1, &recall.at_5, &recall.at_10].map(percent);
            let _ = writeln!(text, "| {how} | {images} | {at_1} | {at_5} | {at_10} | {:.2} |", 100.0 * recall.chance[0]);
        }
    }
}

impl Row {
    fn title(&self) -> String {
        match (self.fitting, self.max_num_patches) {
            (Some(fitting), Some(patches)) => format!("{}, {} ≤ {patches}", self.name, fitting.name()),
            (Some(fitting), None) => format!("{}, {}", self.name, fitting.name()),
            (None, _) => self.name.clone(),
        }
    }
}

fn percent(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:.1} ({low:.1} to {high:.1})")
}

fn signed(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:+.1} ({low:+.1} to {high:+.1})")
}
