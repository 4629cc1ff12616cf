//! Which labels fit a picture, in three honest numbers.

mod background;
mod calibration;
mod export;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use eframe::egui::{Button, CentralPanel, CollapsingHeader, ComboBox, RichText, ScrollArea, Ui, pos2};

use self::background::Background;
use self::calibration::Calibration;
use self::template::{TEMPLATES, Template};
use super::answers::scores;
use super::bars::{bars, computed_in, percent};
use super::bidi;
use super::canvas::{draw_grid, fitted, tag, whole};
use super::desk::Desk;
use super::labels::Labels;
use super::layout::{beside, column, foot};
use super::shelf::{budget_slider, demo_warning, empty, shelf};
use super::strings::{Language, Text};
use super::wanted::Wanted;
use crate::engine::{Classify, Job, News, Reply, Scores, TextInfo};
use crate::tasks::LabelScore;

pub(super) struct Classification {
    labels: Labels,
    template: usize,
    budget: Option<usize>,
    calibration: Calibration,
    shows_table: bool,
    shows_grid: bool,
    /// For each picture.
    scores: BTreeMap<u64, Wanted<Question, Scores>>,
    texts: Wanted<(u32, Vec<String>), Vec<TextInfo>>,
    background: Background,
    /// In which labels are shown; it stays while people type.
    order: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Question {
    epoch: u32,
    version: u32,
    labels: Arc<[String]>,
    template: usize,
    budget: Option<usize>,
}

impl Classification {
    pub(super) fn new(language: Language) -> Self {
        let labels = match language {
            Language::English => ["cat face", "pizza", "bicycle", "rocket", "octopus", "umbrella", "castle", "key"],
            Language::Japanese => ["ネコの顔", "ピザ", "自転車", "ロケット", "タコ", "傘", "城", "鍵"],
        };
        Self {
            labels: Labels::new(labels),
            template: 0,
            budget: None,
            calibration: Calibration::default(),
            shows_table: false,
            shows_grid: false,
            scores: BTreeMap::new(),
            texts: Wanted::default(),
            background: Background::default(),
            order: Vec::new(),
        }
    }

    fn template(&self) -> &'static Template {
        TEMPLATES.get(self.template).unwrap_or(&TEMPLATES[0])
    }

    fn question(&self, desk: &Desk, image: u64) -> Question {
        let version = desk.pictures.version(image);
        Question { version, epoch: desk.model.epoch, labels: self.labels.shared(), template: self.template, budget: self.budget }
    }

    /// The answer about a picture as everything is now, good or bad.
    fn known(&self, desk: &Desk, image: u64) -> Option<&Wanted<Question, Scores>> {
        self.scores.get(&image).filter(|wanted| wanted.is_answer_to(&self.question(desk, image)))
    }

    /// Asks about the picture that is looked at, and of the table's others one at a time.
    fn ask(&mut self, desk: &mut Desk) {
        if desk.model.info.is_none() || self.labels.list().is_empty() {
            return;
        }
        let pictures = &desk.pictures;
        self.scores.retain(|image, _| pictures.all().iter().any(|picture| picture.image == *image));
        if self.scores.values().any(|wanted| wanted.pending().is_some()) {
            return;
        }
        let others = pictures.all().iter().map(|picture| picture.image).filter(|_| self.shows_table);
        let is_open = |image: &u64| self.known(desk, *image).is_none();
        let Some(image) = pictures.chosen.into_iter().chain(others).find(is_open) else {
            // Everything that was asked for is known: time for what nobody waits for.
            if let Some(image) = desk.pictures.chosen.filter(|_| !desk.is_camera_on) {
                self.background.ask(desk, image, self.budget);
            }
            return;
        };
        let question = self.question(desk, image);
        let labels: Vec<Vec<String>> = question.labels.iter().map(|label| self.template().texts(label)).collect();
        let engine = &mut desk.engine;
        let budget = question.budget;
        self.scores
            .entry(image)
            .or_default()
            .want(question, |_| engine.send(Job::Classify(Classify { image, max_num_patches: budget, labels }), Vec::new()));
    }

    /// Asks how much of the texts the model reads.
    fn ask_texts(&mut self, desk: &mut Desk) {
        if desk.model.info.is_none() {
            return;
        }
        let texts: Vec<String> = self.labels.list().iter().filter_map(|label| self.template().texts(label).into_iter().next()).collect();
        let engine = &mut desk.engine;
        self.texts.want((desk.model.epoch, texts), |(_, texts)| engine.send(Job::Tokenize { texts: texts.clone() }, Vec::new()));
    }

    pub(super) fn hear(&mut self, reply: &Reply) {
        for wanted in self.scores.values_mut() {
            wanted.hear(reply, scores);
        }
        self.background.hear(reply);
        self.texts.hear(reply, |reply| if let News::Texts(texts) = &reply.news { Some(texts.clone()) } else { None });
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        self.ask(desk);
        shelf(ui, desk);
        beside(ui, "classify side", [400.0, 320.0], |ui| {
            foot(ui, |ui| self.exports(ui, desk));
            column(ui, |ui| self.side(ui, desk));
        });
        CentralPanel::default().show(ui, |ui| {
            if desk.pictures.all().is_empty() {
                empty(ui, desk);
            } else if self.shows_table {
                self.table(ui, desk);
            } else {
                self.picture(ui, desk);
            }
        });
    }

    fn side(&mut self, ui: &mut Ui, desk: &mut Desk) {
        demo_warning(ui, desk);
        let name = ui.label(RichText::new(desk.text(Text::Labels)).strong()).id;
        let is_typing = self.labels.edit(ui, desk.text(Text::LabelsHint), 6).labelled_by(name).has_focus();
        self.template_ui(ui, desk);
        budget_slider(ui, desk, &mut self.budget);
        ui.separator();
        self.results(ui, desk, is_typing);
        ui.separator();
        self.texts_ui(ui, desk);
        self.calibration.ui(ui, desk);
    }

    fn template_ui(&mut self, ui: &mut Ui, desk: &Desk) {
        ui.horizontal(|ui| {
            let name = ui.label(desk.text(Text::Template)).on_hover_text(desk.text(Text::TemplateHint)).id;
            let shown = |template: &Template| template.name.unwrap_or(desk.text(Text::TemplateAsTyped));
            let choice = ComboBox::from_id_salt("template").width(220.0).selected_text(shown(self.template())).show_ui(ui, |ui| {
                for (index, template) in TEMPLATES.iter().enumerate() {
                    ui.selectable_value(&mut self.template, index, shown(template));
                }
            });
            choice.response.labelled_by(name);
        });
        if self.labels.list().iter().any(|label| self.template().is_foreign_to(label)) {
            ui.label(RichText::new(desk.text(Text::TemplateForeign)).small().color(ui.visuals().warn_fg_color));
        }
    }

    fn results(&mut self, ui: &mut Ui, desk: &Desk, is_typing: bool) {
        if self.labels.list().is_empty() {
            ui.label(desk.text(Text::NoLabels));
            return;
        }
        let Some(image) = desk.pictures.chosen else { return };
        let Some(wanted) = self.scores.get(&image) else { return };
        if let Some(failure) = wanted.failure() {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
        }
        let Some((question, scores)) = wanted.answered() else { return };
        let (labels, scores, is_stale) = (Arc::clone(&question.labels), scores.clone(), self.known(desk, image).is_none());
        let shown = LabelScore::all(&self.calibration.logits(&scores.logits, desk.model.info.as_ref()));
        if self.order.len() != shown.len() || !is_typing {
            self.order = (0..shown.len()).collect();
            if !is_typing {
                self.order.sort_by(|&a, &b| shown[b].logit.total_cmp(&shown[a].logit));
            }
        }
        bars(ui, desk.language, &labels, &shown, &self.order, is_stale);
        computed_in(ui, desk.language, &scores);
        if let Some(best) = LabelScore::best(&shown) {
            self.rank_ui(ui, desk, image, &labels, best, &scores.logits);
        }
    }

    /// Where the best label stands among captions of other things.
    fn rank_ui(&mut self, ui: &mut Ui, desk: &Desk, image: u64, labels: &[String], best: usize, logits: &[f32]) {
        let mut is_on = self.background.is_on(desk);
        if ui.checkbox(&mut is_on, desk.text(Text::Ranking)).on_hover_text(desk.text(Text::RankingHint)).changed() {
            self.background.is_wanted = Some(is_on);
        }
        let rank = logits.get(best).and_then(|logit| self.background.rank(image, *logit)).filter(|_| is_on);
        if let (Some(rank), Some(label)) = (rank, labels.get(best)) {
            let count = self.background.progress(image).to_string();
            ui.label(bidi::words(ui, &desk.fill(Text::HigherThan, &[label, &percent(rank), &count])));
        }
    }

    /// The exact texts and how many tokens of them the model has room for.
    fn texts_ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        let opened = CollapsingHeader::new(desk.text(Text::TextsRead)).show(ui, |ui| {
            self.ask_texts(desk);
            let Some(((_, texts), infos)) = self.texts.answered() else { return };
            for (text, info) in texts.iter().zip(infos) {
                ui.horizontal_wrapped(|ui| {
                    ui.label(bidi::words(ui, text));
                    ui.label(RichText::new(format!("{} {}", info.tokens, desk.text(Text::Tokens))).small().weak());
                    if info.truncated {
                        ui.label(RichText::new(desk.text(Text::Truncated)).small().color(ui.visuals().warn_fg_color));
                    }
                });
            }
        });
        if let Some(failure) = self.texts.failure().filter(|_| opened.fully_open()) {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
        }
    }

    fn exports(&mut self, ui: &mut Ui, desk: &mut Desk) {
        let is_anything_known =
            desk.pictures.all().iter().any(|picture| self.known(desk, picture.image).and_then(Wanted::answer).is_some());
        ui.horizontal_wrapped(|ui| {
            ui.toggle_value(&mut self.shows_table, desk.text(Text::Table));
            ui.toggle_value(&mut self.shows_grid, desk.text(Text::Grid)).on_hover_text(desk.text(Text::GridHint));
        });
        ui.horizontal_wrapped(|ui| {
            if ui.add_enabled(is_anything_known, Button::new(desk.text(Text::ExportCsv))).clicked() {
                let csv = self.exported(desk).csv();
                desk.host.save("polyglance.csv", csv.into_bytes());
            }
            if ui.add_enabled(is_anything_known, Button::new(desk.text(Text::ExportJson))).clicked() {
                let json = self.exported(desk).json();
                desk.host.save("polyglance.json", json);
            }
        });
    }

    /// What is known of every picture about the labels as they are now.
    fn exported(&self, desk: &Desk) -> export::Results {
        let pictures = desk.pictures.all().iter().filter_map(|picture| {
            let scores = self.known(desk, picture.image)?.answer()?;
            let logits = self.calibration.logits(&scores.logits, desk.model.info.as_ref());
            Some(export::Row { picture: picture.name.clone(), grid: scores.grid, scores: LabelScore::all(&logits) })
        });
        export::Results {
            model: super::models::name(desk),
            template: self.template().described().to_owned(),
            calibration: self.calibration.changed(desk.model.info.as_ref()),
            labels: self.labels.list().to_vec(),
            pictures: pictures.collect(),
        }
    }

    fn picture(&mut self, ui: &mut Ui, desk: &Desk) {
        let Some(picture) = desk.pictures.chosen() else { return };
        let space = ui.available_rect_before_wrap();
        let rect = fitted(picture.preview.aspect_ratio(), space);
        ui.painter().image(picture.preview.id(), rect, whole(), eframe::egui::Color32::WHITE);
        let grid = self.scores.get(&picture.image).and_then(|wanted| wanted.answer()).map(|scores| scores.grid);
        let [height, width] = picture.size;
        let mut line = format!("{} · {width} × {height}", picture.name);
        if let Some(grid @ [rows, cols]) = grid {
            let side = desk.model.info.as_ref().map_or(0, |info| info.patch_size);
            line = format!("{line} → {} × {} ({rows} × {cols} {})", cols * side, rows * side, desk.text(Text::Grid).to_lowercase());
            if self.shows_grid {
                draw_grid(ui.painter(), rect, grid, eframe::egui::Color32::from_rgba_unmultiplied(127, 127, 127, 110));
            }
        }
        tag(ui.painter(), rect, &line);
        for (index, warning) in picture.warnings.iter().enumerate() {
            let place = pos2(space.left() + 8.0, space.top() + 8.0 + 18.0 * index as f32);
            let font = eframe::egui::FontId::proportional(12.0);
            ui.painter().text(place, eframe::egui::Align2::LEFT_TOP, warning, font, ui.visuals().warn_fg_color);
        }
    }

    /// Every picture with its best label.
    fn table(&self, ui: &mut Ui, desk: &mut Desk) {
        let mut chosen = None;
        ScrollArea::both().auto_shrink([false, false]).show(ui, |ui| {
            eframe::egui::Grid::new("table").striped(true).num_columns(5).spacing([18.0, 6.0]).show(ui, |ui| {
                for heading in [Text::Picture, Text::Best, Text::ShareOf, Text::Probability, Text::Logit] {
                    ui.label(RichText::new(desk.text(heading)).small().weak());
                }
                ui.end_row();
                for picture in desk.pictures.all() {
                    if ui.selectable_label(desk.pictures.chosen == Some(picture.image), bidi::words(ui, &picture.name)).clicked() {
                        chosen = Some(picture.image);
                    }
                    let wanted = self.known(desk, picture.image);
                    if let Some(failure) = wanted.and_then(Wanted::failure) {
                        ui.colored_label(ui.visuals().error_fg_color, &failure.message);
                    } else if let Some(scores) = wanted.and_then(Wanted::answer) {
                        let scores = LabelScore::all(&self.calibration.logits(&scores.logits, desk.model.info.as_ref()));
                        if let Some(best) = LabelScore::best(&scores) {
                            ui.label(bidi::words(ui, self.labels.list().get(best).map(String::as_str).unwrap_or_default()));
                            ui.label(percent(scores[best].share));
                            ui.label(percent(scores[best].probability));
                            ui.label(format!("{:+.2}", scores[best].logit));
                        }
                    } else {
                        ui.spinner();
                    }
                    ui.end_row();
                }
            });
        });
        if let Some(image) = chosen {
            desk.pictures.chosen = Some(image);
        }
    }
}
