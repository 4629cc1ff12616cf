//! Pictures of whole folders, found by words in any language, by pictures, or by sums of both.

mod grid;
mod library;
mod map;
mod viewer;

use std::path::Path;

use eframe::egui::{CentralPanel, Context, Key, Modifiers, Panel, RichText, Slider, TextEdit, Ui};
use serde_json::json;

use self::grid::Grid;
use self::library::{Chosen, Library};
use self::map::PictureMap;
use self::viewer::Viewer;
use super::Workspace;
use super::bidi;
use super::csv::quoted;
use super::desk::Desk;
use super::shelf::demo_warning;
use super::strings::Text;
use super::wanted::Wanted;
use crate::engine::{Hit, Hits, Job, News, Reply, Search};

/// Results that are asked for: more than anybody looks through.
const COUNT: usize = 500;

#[derive(Default)]
pub(super) struct Retrieval {
    library: Library,
    query: String,
    /// How much of the best result's lead the others must have; 0 for all.
    within: f32,
    /// Whether near-duplicates are looked for in place of a query.
    wants_alike: bool,
    least: Least,
    found: Wanted<Question, Hits>,
    /// The last good answer, and the collection that it is of: it stays while a query is half typed.
    found_last: Hits,
    shown_of: String,
    /// What is left of it by what was chosen on the map.
    shown: Hits,
    map: PictureMap,
    grid: Grid,
    viewer: Viewer,
}

#[derive(Clone, Debug, PartialEq)]
struct Question {
    epoch: u32,
    /// Of the collection's content.
    version: u32,
    collection: String,
    query: String,
    within: f32,
    /// The cosine from which pictures are near-duplicates, if these are looked for.
    alike: Option<f32>,
}

/// What people want to do with a picture that was found.
#[derive(Clone, Copy)]
enum Action {
    /// Show it large.
    Open,
    Like,
    Unlike,
    Look(Workspace),
    Reveal,
    CopyFile,
    CopyPath,
}

/// The cosine from which pictures are near-duplicates.
struct Least(f32);

impl Default for Least {
    fn default() -> Self {
        Self(0.97)
    }
}

impl Retrieval {
    /// Takes answers.
    pub(super) fn hear(&mut self, context: &Context, desk: &mut Desk, reply: &Reply) {
        if self.library.hear(context, desk, reply) {
            self.grid.forget();
        }
        self.grid.hear(context, reply);
        if self.map.hear(reply) {
            self.filter();
        }
        self.viewer.hear(context, reply);
        let is_answer = self.found.hear(reply, |reply| if let News::Hits(hits) = &reply.news { Some(hits.clone()) } else { None });
        if is_answer && let Some((question, hits)) = self.found.answered() {
            self.found_last = hits.clone();
            self.shown_of.clone_from(&question.collection);
            self.filter();
        }
    }

    /// Shows what is left of the results by what was chosen on the map.
    fn filter(&mut self) {
        self.shown = self.found_last.clone();
        if !self.wants_alike
            && let Some(hits) = self.map.filter(&self.found_last.hits)
        {
            self.shown.hits = hits;
        }
        self.grid.arrange_anew();
    }

    /// Indexes a folder.
    pub(super) fn index(&mut self, root: String) {
        self.library.index(root);
    }

    /// Goes on with what has given way, whatever people look at.
    pub(super) fn go_on(&mut self, desk: &mut Desk) {
        self.library.go_on(desk);
    }

    /// Takes files that were dropped: folders to index; pictures to look for others like them.
    pub(super) fn take_files(&mut self, desk: &Desk, names: impl IntoIterator<Item = String>) {
        for name in names {
            if desk.host.is_folder(Path::new(&name)) { self.index(name) } else { self.look_for(&term(&name)) }
        }
    }

    /// Takes what was pasted: folders to index; else something to look for.
    pub(super) fn take<'a>(&mut self, desk: &Desk, texts: impl Iterator<Item = &'a str>) {
        for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
            if Path::new(text).is_absolute() { self.take_files(desk, [text.to_owned()]) } else { self.look_for(text) }
        }
    }

    fn ask(&mut self, desk: &mut Desk) {
        let Some(collection) = self.library.chosen(desk) else { return };
        // Words mean nothing to an index of another model; its pictures can be looked at.
        let query = if collection.fits { self.query.trim().to_owned() } else { String::new() };
        let (collection, version) = (collection.name, collection.version);
        let alike = self.wants_alike.then_some(self.least.0);
        let question = Question { epoch: desk.model.epoch, version, collection, query, within: self.within, alike };
        let engine = &mut desk.engine;
        if let Some(stale) = self.found.pending().filter(|_| !self.found.is_asking(&question)) {
            engine.cancel(stale);
        }
        self.found.want(question, |question| {
            let Question { collection, query, within, alike, .. } = question.clone();
            let within = Some(within).filter(|within| *within > 0.0);
            let search = || Job::Search(Search { collection: collection.clone(), query, count: COUNT, within });
            engine.send(alike.map_or_else(search, |least| Job::Alike { collection: collection.clone(), least }), Vec::new())
        });
    }

    /// Draws it; gives the workspace that people go to with a picture.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk) -> Option<Workspace> {
        self.library.ask(desk);
        if self.library.is_empty() {
            CentralPanel::default().show(ui, |ui| self.library.welcome(ui, desk));
            return None;
        }
        Panel::top("retrieve top").show(ui, |ui| self.top(ui, desk));
        // In the frame that shows the letter, so that its results are looked for while it is painted.
        self.ask(desk);
        Panel::bottom("retrieve foot").show(ui, |ui| self.foot(ui, desk));
        let collection = self.library.chosen(desk)?;
        if self.shown_of != collection.name {
            // Not the pictures of one folder under the name of another.
            (self.found_last, self.shown) = Default::default();
            self.shown_of.clone_from(&collection.name);
            self.viewer.close();
            self.grid.forget();
            self.map.forget();
        }
        self.show_map(ui, desk, &collection);
        let action = CentralPanel::default().show(ui, |ui| {
            if let Some(path) = self.viewer.path() {
                let action = self.viewer.ui(ui, desk, &collection.name, &self.shown.hits);
                if self.viewer.path().is_none() {
                    // Back to where people came from.
                    self.grid.focused = Some(path);
                }
                return action;
            }
            self.grid.ui(ui, desk, &collection.name, &self.shown.hits, &self.shown.groups)
        });
        let (index, action) = action.inner?;
        let hit = self.shown.hits.get(index)?.clone();
        self.act(ui, desk, &collection.root, &hit, action)
    }

    fn show_map(&mut self, ui: &mut Ui, desk: &mut Desk, collection: &Chosen) {
        if !self.map.is_shown || self.viewer.path().is_some() {
            return;
        }
        let half = 0.5 * ui.available_width();
        let drawn = Panel::left("map").resizable(true).default_size(half).show(ui, |ui| {
            // However little there is in it at first.
            ui.take_available_width();
            let key = (collection.name.clone(), collection.version);
            self.map.ui(ui, desk, &mut self.grid, key, !self.library.is_indexing())
        });
        let (is_other, opened) = drawn.inner;
        if is_other {
            self.filter();
        }
        if let Some(path) = opened {
            // It may be among no results.
            self.map.choose(&path, &self.shown.hits).then(|| self.filter());
            self.viewer.open(path);
        }
    }

    fn act(&mut self, ui: &Ui, desk: &mut Desk, root: &str, hit: &Hit, action: Action) -> Option<Workspace> {
        let own = term(&format!("./{}", hit.path));
        let path = Path::new(root).join(&hit.path);
        match action {
            Action::Open => {
                // The arrows are the viewer's now.
                ui.memory_mut(|memory| memory.focused().into_iter().for_each(|id| memory.surrender_focus(id)));
                self.viewer.open(hit.path.clone());
            }
            Action::Like => self.look_for(&own),
            Action::Unlike => self.look_for(&format!("{} - 0.5: {own}", self.query.trim())),
            Action::Look(workspace) => {
                desk.host.read(path);
                return Some(workspace);
            }
            Action::Reveal => desk.host.reveal(&path),
            Action::CopyFile => desk.host.copy_file(&path),
            Action::CopyPath => ui.ctx().copy_text(path.display().to_string()),
        }
        None
    }

    fn look_for(&mut self, query: &str) {
        query.trim_start().clone_into(&mut self.query);
        self.wants_alike = false;
        self.viewer.close();
    }

    fn top(&mut self, ui: &mut Ui, desk: &mut Desk) {
        ui.add_space(6.0);
        self.library.ui(ui, desk);
        ui.add_space(2.0);
        demo_warning(ui, desk);
        ui.horizontal(|ui| {
            let label = ui.label(desk.text(Text::Query)).id;
            let width = (ui.available_width() - 530.0).max(160.0);
            let field = TextEdit::singleline(&mut self.query).hint_text(desk.text(Text::QueryHint)).desired_width(width);
            let field = bidi::field(ui, field).labelled_by(label).on_hover_text(desk.text(Text::QueryHelp));
            if ui.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::F)) {
                field.request_focus();
            }
            if ui.button(desk.text(Text::Clear)).clicked() {
                self.query.clear();
                field.request_focus();
            }
            self.limits(ui, desk);
        });
        if let Some(failure) = self.found.failure() {
            ui.colored_label(ui.visuals().warn_fg_color, &failure.message);
        }
        ui.add_space(4.0);
    }

    /// What is shown of everything: what stands out, or what is nearly the same.
    fn limits(&mut self, ui: &mut Ui, desk: &Desk) {
        if ui.selectable_label(self.map.is_shown, desk.text(Text::Map)).on_hover_text(desk.text(Text::MapHint)).clicked() {
            self.map.is_shown = !self.map.is_shown;
            self.filter();
        }
        if ui.selectable_label(self.wants_alike, desk.text(Text::Alike)).on_hover_text(desk.text(Text::AlikeHint)).clicked() {
            self.wants_alike = !self.wants_alike;
        }
        let (name, hint) = if self.wants_alike { (Text::AlikeLeast, Text::AlikeLeastHint) } else { (Text::Within, Text::WithinHint) };
        let name = ui.label(desk.text(name)).on_hover_text(desk.text(hint)).id;
        let slider = if self.wants_alike {
            Slider::new(&mut self.least.0, 0.8..=1.0).fixed_decimals(2)
        } else {
            let percent = |share: f64, _| format!("{:.0} %", 100.0 * share);
            let share = |text: &str| text.trim_end_matches(['%', ' ']).parse::<f64>().ok().map(|percent| percent / 100.0);
            Slider::new(&mut self.within, 0.0..=1.0).custom_formatter(percent).custom_parser(share)
        };
        ui.add(slider).labelled_by(name).on_hover_text(desk.text(hint));
    }

    fn foot(&mut self, ui: &mut Ui, desk: &mut Desk) {
        ui.add_space(2.0);
        ui.horizontal_wrapped(|ui| {
            let Hits { hits, compared, query_millis, search_millis, groups } = &self.shown;
            let (text, count) = if self.wants_alike { (Text::AlikeOf, groups.len()) } else { (Text::FoundOf, hits.len()) };
            ui.label(RichText::new(desk.fill(text, &[&count.to_string(), &compared.to_string()])).small());
            if self.wants_alike && self.found.pending().is_some() {
                ui.spinner();
            }
            if hits.iter().any(|hit| hit.score.is_some()) {
                let times = [query_millis, search_millis].map(|millis| format!("{millis:.0}"));
                ui.label(RichText::new(desk.fill(Text::SearchTimes, &[&times[0], &times[1]])).small().weak());
            }
            ui.checkbox(&mut self.grid.shows_scores, desk.text(Text::ShowScores));
            if ui.button(desk.text(Text::ExportCsv)).clicked() {
                desk.host.save("polyglance-results.csv", csv(hits).into_bytes());
            }
            if ui.button(desk.text(Text::ExportJson)).clicked() {
                let all: Vec<_> = hits.iter().map(|hit| json!({ "path": hit.path, "score": hit.score })).collect();
                desk.host.save("polyglance-results.json", serde_json::to_vec_pretty(&all).unwrap_or_default());
            }
        });
        ui.add_space(2.0);
    }
}

/// A line for every picture.
fn csv(hits: &[Hit]) -> String {
    let line = |hit: &Hit| format!("{},{}\r\n", quoted(&hit.path), hit.score.map(|score| score.to_string()).unwrap_or_default());
    std::iter::once("path,score\r\n".to_owned()).chain(hits.iter().map(line)).collect()
}

/// A picture as a part of a query.
fn term(path: &str) -> String {
    let has_signs = [" + ", " - "].iter().any(|sign| path.contains(sign)) || path.contains(": ");
    if has_signs { format!("\"{path}\"") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_signs_are_quoted_and_exports_keep_them() {
        assert_eq!(term("./a.jpg"), "./a.jpg");
        assert_eq!(term("./a - b.jpg"), "\"./a - b.jpg\"");
        let hit = |path: &str, score| Hit { path: path.to_owned(), score, size: [1, 1] };
        assert_eq!(csv(&[hit("a,\"b\".jpg", Some(0.5)), hit("=c", None)]), "path,score\r\n\"a,\"\"b\"\".jpg\",0.5\r\n\"'=c\",\r\n");
    }
}
