//! What the model says of the scene: scores of phrases, where a word lights up, the same in other languages.

use std::sync::Arc;

use eframe::egui::{Color32, ColorImage, Context, Painter, Rect, RichText, TextEdit, TextureOptions, Ui};

use super::super::answers::{PatchMap, patch_map, scores};
use super::super::bars::{bars, computed_in, percent};
use super::super::bidi;
use super::super::canvas::Layer;
use super::super::desk::Desk;
use super::super::labels::{Labels, alone};
use super::super::pictures::STAGE_IMAGE;
use super::super::strings::Text;
use super::super::wanted::Wanted;
use super::compose::compose;
use super::palette::Palette;
use super::scene::Scene;
use crate::engine::{AddImage, Classify, ImageForm, Job, Reply, Scores, ViewJob, ViewOf};
use crate::tasks::LabelScore;
use crate::tasks::dense::Map;

/// Languages of the table, each under its own name.
const LANGUAGES: [(&str, &str); 12] = [
    ("en", "English"),
    ("ja", "日本語"),
    ("zh", "中文"),
    ("ko", "한국어"),
    ("hi", "हिन्दी"),
    ("ar", "العربية"),
    ("ru", "Русский"),
    ("de", "Deutsch"),
    ("es", "Español"),
    ("fr", "Français"),
    ("pt", "Português"),
    ("tr", "Türkçe"),
];
/// Every how many-th emoji of the palette a word is compared with: enough to know what a patch says of anything.
const CONTRAST_STEP: usize = 3;
/// Standard deviations above other words at which a patch begins to light up, and at which it is brightest.
const LIT: [f32; 2] = [0.8, 2.2];
/// How dark the rest becomes, up to 255.
const SHADE: f32 = 165.0;

#[derive(Default)]
pub(super) struct Results {
    scores: Wanted<Question, Scores>,
    heat: Wanted<HeatQuestion, PatchMap>,
    table: Wanted<TableQuestion, Scores>,
    /// The scene that the engine has.
    sent: Option<(u32, Scene)>,
    word: String,
    /// The phrase whose bar the pointer is at.
    pointed: Option<String>,
    shows_table: bool,
    layer: Layer,
}

/// A model is part of every question: the answers of another one are no answers.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    epoch: u32,
    scene: Scene,
    phrases: Arc<[String]>,
}

#[derive(Clone, Debug, PartialEq)]
struct HeatQuestion {
    epoch: u32,
    scene: Scene,
    word: String,
}

#[derive(Clone, Debug, PartialEq)]
struct TableQuestion {
    epoch: u32,
    scene: Scene,
    /// For each language, the names of the phrases that have one.
    names: Vec<Vec<String>>,
}

impl Results {
    /// Asks for what is shown, as far as it is not known.
    pub(super) fn ask(&mut self, desk: &mut Desk, scene: &Scene, palette: &Palette, phrases: &Labels) {
        if desk.model.info.is_none() {
            return;
        }
        let epoch = desk.model.epoch;
        let engine = &mut desk.engine;
        let classify = |labels| Job::Classify(Classify { image: STAGE_IMAGE, max_num_patches: None, labels });
        if !phrases.list().is_empty() {
            let question = Question { epoch, scene: scene.clone(), phrases: phrases.shared() };
            let sent = &mut self.sent;
            self.scores.want(question, |question| {
                let pixels = compose(&question.scene, palette.sheet);
                let form = ImageForm::Pixels { height: pixels.height() as usize, width: pixels.width() as usize };
                engine.send(Job::AddImage(AddImage { image: STAGE_IMAGE, form, preview_side: 0 }), pixels.into_raw());
                *sent = Some((epoch, question.scene.clone()));
                engine.send(classify(alone(&question.phrases)), Vec::new())
            });
        }
        // What follows is about the scene that the engine has, whatever has changed since.
        let Some((_, scene)) = self.sent.clone().filter(|(sent, _)| *sent == epoch) else { return };
        if let Some(word) = self.lit_word() {
            let question = HeatQuestion { epoch, scene: scene.clone(), word };
            self.heat.want(question, |question| {
                let contrast =
                    (0..palette.entries.len()).step_by(CONTRAST_STEP).filter(|place| palette.named(&question.word) != Some(*place));
                let labels = std::iter::once(question.word.clone()).chain(contrast.map(|place| palette.name(place, "en").to_owned()));
                let view = ViewOf::Phrases(labels.map(|label| vec![label]).collect());
                let job = ViewJob { image: STAGE_IMAGE, max_num_patches: None, layer: None, mask_outliers: false, view };
                engine.send(Job::View(job), Vec::new())
            });
        }
        if self.shows_table {
            let named: Vec<usize> = phrases.list().iter().filter_map(|phrase| palette.named(phrase)).collect();
            let names = LANGUAGES.iter().map(|(code, _)| named.iter().map(|place| palette.name(*place, code).to_owned()).collect());
            let question = TableQuestion { epoch, scene, names: names.collect() };
            if !named.is_empty() {
                self.table.want(question, |question| engine.send(classify(alone(&question.names.concat())), Vec::new()));
            }
        }
    }

    /// The word to light up: what is typed, or what the pointer is at.
    fn lit_word(&self) -> Option<String> {
        let typed = self.word.trim();
        self.pointed.clone().or_else(|| (!typed.is_empty()).then(|| typed.to_owned()))
    }

    pub(super) fn hear(&mut self, context: &Context, reply: &Reply) {
        self.scores.hear(reply, scores);
        self.table.hear(reply, scores);
        if self.heat.hear(reply, patch_map)
            && let Some(map) = self.heat.answer()
        {
            self.layer.set(context, "heat", spotlight(&map.map), TextureOptions::LINEAR);
        }
    }

    /// Rows and columns of patches of the scene.
    pub(super) fn grid(&self) -> Option<[usize; 2]> {
        self.scores.answer().map(|scores| scores.grid)
    }

    pub(super) fn draw_heat(&self, painter: &Painter, rect: Rect) {
        if self.lit_word().is_some() {
            self.layer.draw(painter, rect, 1.0);
        }
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, palette: &Palette, phrases: &mut Labels) {
        let name = ui.heading(desk.text(Text::Phrases)).id;
        self.scores_ui(ui, desk);
        phrases.edit(ui, desk.text(Text::PhrasesHint), 4).labelled_by(name);
        ui.add_space(6.0);
        let name = ui.label(RichText::new(desk.text(Text::Word)).strong()).id;
        let hint = desk.text(Text::WordHint);
        let mut layouter = bidi::layouter(false);
        let field = TextEdit::singleline(&mut self.word).layouter(&mut layouter).id_salt("word").hint_text(hint);
        bidi::field(ui, field.desired_width(f32::INFINITY)).labelled_by(name);
        if let Some(failure) = self.heat.failure() {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
        }
        ui.add_space(6.0);
        ui.toggle_value(&mut self.shows_table, desk.text(Text::Languages)).on_hover_text(desk.text(Text::LanguagesHint));
        if self.shows_table {
            self.table_ui(ui, desk, palette, phrases);
        }
    }

    fn scores_ui(&mut self, ui: &mut Ui, desk: &Desk) {
        if let Some(failure) = self.scores.failure() {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
        }
        let Some((question, scores)) = self.scores.answered() else { return };
        let logits: Vec<f64> = scores.logits.iter().map(|logit| f64::from(*logit)).collect();
        // In the order in which they were typed: nothing jumps while emoji move.
        let order: Vec<usize> = (0..logits.len()).collect();
        let pointed = bars(ui, desk.language, &question.phrases, &LabelScore::all(&logits), &order, question.epoch != desk.model.epoch);
        self.pointed = pointed.and_then(|index| question.phrases.get(index).cloned());
        computed_in(ui, desk.language, scores);
    }

    /// In each language, the phrases' names with the best one first.
    fn table_ui(&self, ui: &mut Ui, desk: &Desk, palette: &Palette, phrases: &mut Labels) {
        ui.label(RichText::new(desk.text(Text::Untranslated)).small().weak());
        let Some((question, scores)) = self.table.answered() else { return };
        let mut logits = scores.logits.as_slice();
        let mut chosen = None;
        eframe::egui::Grid::new("languages").num_columns(3).striped(true).show(ui, |ui| {
            for ((code, language), names) in LANGUAGES.iter().zip(&question.names) {
                let Some((own, rest)) = logits.split_at_checked(names.len()) else { break };
                logits = rest;
                let scores = LabelScore::all(&own.iter().map(|logit| f64::from(*logit)).collect::<Vec<_>>());
                let best = LabelScore::best(&scores);
                let Some(best) = best else { continue };
                if ui.button(bidi::words(ui, language)).clicked() {
                    chosen = Some(*code);
                }
                ui.label(bidi::words(ui, names.get(best).map(String::as_str).unwrap_or_default()));
                ui.label(RichText::new(percent(scores[best].share)).weak());
                ui.end_row();
            }
        });
        if let Some(code) = chosen {
            let named =
                phrases.list().iter().map(|phrase| palette.named(phrase).map_or(phrase.as_str(), |place| palette.name(place, code)));
            *phrases = Labels::new(named);
        }
    }
}

/// Leaves light where the first of a map's phrases stands out from the others, and shade elsewhere.
fn spotlight(map: &Map) -> ColorImage {
    let pixels = map.values.chunks_exact(map.channels.max(1)).map(|logits| {
        let Some((word, others)) = logits.split_first() else { return Color32::TRANSPARENT };
        let count = others.len().max(1) as f32;
        let mean = others.iter().sum::<f32>() / count;
        let deviation = (others.iter().map(|logit| (logit - mean).powi(2)).sum::<f32>() / count).sqrt().max(1e-3);
        let light = ((((word - mean) / deviation) - LIT[0]) / (LIT[1] - LIT[0])).clamp(0.0, 1.0);
        Color32::from_black_alpha((SHADE * (1.0 - light)) as u8)
    });
    ColorImage::new([map.grid.cols, map.grid.rows], pixels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_out_is_lit() {
        let values = vec![5.0, 1.0, 2.0, 1.5, 1.4, 1.0, 2.0, 1.5];
        let map = Map { grid: crate::image::Grid { rows: 1, cols: 2 }, channels: 4, values, ranges: Vec::new() };
        let image = spotlight(&map);
        assert_eq!(image.size, [2, 1]);
        assert!(image.pixels[0].a() < 20 && image.pixels[1].a() > 120, "{:?}", image.pixels);
    }
}
