//! Which folders were indexed, and the one that is being indexed.

use std::collections::VecDeque;

use eframe::egui::{Button, ComboBox, Context, ProgressBar, RichText, ScrollArea, Ui, vec2};

use super::super::bidi;
use super::super::desk::Desk;
use super::super::strings::Text;
use super::super::wanted::Wanted;
use crate::engine::{Collection, FailureKind, Indexed, Job, ModelSource, News, Progress, Reply};

#[derive(Default)]
pub(super) struct Library {
    list: Wanted<u32, Vec<Collection>>,
    /// Goes up when the list may have changed.
    changes: u32,
    /// Goes up when the content of a collection may have changed.
    version: u32,
    chosen: Option<String>,
    indexing: Option<Indexing>,
    /// Folders that come after that one.
    waiting: VecDeque<String>,
    /// What came of the last one.
    report: Option<Indexed>,
    /// The collection that people want to forget, until they say so again.
    doomed: Option<String>,
    deletion: Option<u64>,
}

/// A folder on its way into an index.
struct Indexing {
    root: String,
    /// Known once it has begun.
    model: Option<String>,
    job: Option<u64>,
    progress: Option<Progress>,
    is_paused: bool,
    /// When how many pictures were done, over the last seconds.
    marks: VecDeque<(f64, u64)>,
    /// When the list was looked at last.
    looked: f64,
}

/// The collection that is looked at.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) root: String,
    /// Whether it was made with the open model.
    pub(super) fits: bool,
    pub(super) version: u32,
}

/// Files that are listed: all of a large folder's would be drawn in every frame.
const LISTED: usize = 200;
/// Seconds over which the speed is taken.
const RATE_SECS: f64 = 10.0;
/// Seconds between looks at a collection that grows.
const LOOK_SECS: f64 = 3.0;

/// The open model as collections name it.
fn model(desk: &Desk) -> Option<String> {
    Some(desk.model.info.as_ref()?.source.known_as().to_owned())
}

impl Library {
    pub(super) fn is_empty(&self) -> bool {
        self.indexing.is_none() && self.waiting.is_empty() && self.list.answer().is_none_or(|list| list.is_empty())
    }

    pub(super) fn ask(&mut self, desk: &mut Desk) {
        if !desk.is_opening() {
            self.list.want(self.changes, |_| desk.engine.send(Job::Collections, Vec::new()));
        }
    }

    /// The collection that people chose; else the first that the open model can search.
    pub(super) fn chosen(&self, desk: &Desk) -> Option<Chosen> {
        let (list, model) = (self.list.answer()?, model(desk));
        let fits = |collection: &Collection| model.as_ref() == Some(&collection.model) && collection.damage.is_none();
        let named = self.chosen.as_ref().and_then(|name| list.iter().find(|collection| collection.name == *name));
        let found = named.or_else(|| list.iter().find(|collection| fits(collection))).or_else(|| list.first())?;
        Some(Chosen { name: found.name.clone(), root: found.root.clone(), fits: fits(found), version: self.version })
    }

    /// Begins to index a folder, or brings its index up to date, after those before it.
    pub(super) fn index(&mut self, root: String) {
        let is_underway = self.indexing.as_ref().is_some_and(|indexing| indexing.root == root);
        if !is_underway && !self.waiting.contains(&root) {
            self.waiting.push_back(root);
        }
    }

    /// Begins what waits for a model, and goes on with what has given way to other jobs. With another model it would become another index: then it is
    /// left, and what was done stays.
    pub(super) fn go_on(&mut self, desk: &mut Desk) {
        let Some(model) = model(desk) else { return };
        if self.indexing.is_none()
            && let Some(root) = self.waiting.pop_front()
        {
            self.report = None;
            desk.host.keep_stored();
            let (model, job, progress) = (None, None, None);
            self.indexing = Some(Indexing { root, model, job, progress, is_paused: false, marks: VecDeque::new(), looked: 0.0 });
        }
        let Some(indexing) = self.indexing.as_mut().filter(|indexing| indexing.job.is_none()) else { return };
        if *indexing.model.get_or_insert_with(|| model.clone()) != model {
            self.indexing = None;
            self.changes += 1;
        } else if !indexing.is_paused {
            indexing.job = Some(desk.engine.send(Job::Index { root: indexing.root.clone() }, Vec::new()));
        }
    }

    /// Takes answers; gives whether pictures may have changed.
    pub(super) fn hear(&mut self, context: &Context, desk: &mut Desk, reply: &Reply) -> bool {
        self.list.hear(reply, |reply| if let News::Collections(list) = &reply.news { Some(list.clone()) } else { None });
        if self.deletion == Some(reply.id) && reply.news.is_last() {
            self.deletion = None;
            self.changes += 1;
            if let News::Failed(failure) = &reply.news {
                desk.complain(&failure.message);
            }
        }
        let Some(indexing) = self.indexing.as_mut().filter(|indexing| indexing.job == Some(reply.id)) else { return false };
        match &reply.news {
            News::Progress(progress) => {
                let now = context.input(|input| input.time);
                indexing.mark(now, *progress);
                if now - indexing.looked > LOOK_SECS {
                    indexing.looked = now;
                    self.changes += 1;
                    self.version += 1;
                }
            }
            News::Indexed(indexed) => {
                self.indexing = None;
                self.chosen = Some(indexed.collection.name.clone());
                self.report = Some(indexed.as_ref().clone());
                self.changes += 1;
                self.version += 1;
                return true;
            }
            News::Failed(failure) if failure.kind == FailureKind::Cancelled => {
                indexing.job = None;
            }
            News::Failed(failure) => {
                desk.complain(&failure.message);
                self.indexing = None;
            }
            _ => {}
        }
        false
    }

    /// Whether pictures are coming in.
    pub(super) fn is_indexing(&self) -> bool {
        self.indexing.is_some()
    }

    /// What people see who have indexed nothing yet.
    pub(super) fn welcome(&mut self, ui: &mut Ui, desk: &mut Desk) {
        super::demo_warning(ui, desk);
        ui.vertical_centered(|ui| {
            ui.add_space(ui.available_height() * 0.28);
            ui.label(RichText::new(desk.text(Text::NoFolder)).heading());
            ui.label(desk.text(Text::NoFolderHint));
            ui.add_space(8.0);
            if ui.add(Button::new(desk.text(Text::ChooseFolder)).min_size(vec2(180.0, 36.0))).clicked() {
                desk.host.pick_folder();
            }
        });
    }

    /// Which collection is looked at, what can be done with it, and how far another one is.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        let chosen = self.chosen(desk);
        ui.horizontal_wrapped(|ui| {
            if let Some(chosen) = &chosen {
                self.choice(ui, desk, chosen);
                let update = ui.add_enabled(!chosen.root.is_empty(), Button::new(desk.text(Text::UpdateFolder)));
                if update.on_hover_text(desk.text(Text::UpdateFolderHint)).clicked() {
                    self.index(chosen.root.clone());
                }
                self.deletion(ui, desk, chosen);
            }
            if ui.button(desk.text(Text::ChooseFolder)).clicked() {
                desk.host.pick_folder();
            }
        });
        self.progress(ui, desk);
        if let Some(chosen) = chosen.filter(|chosen| !chosen.fits) {
            self.other_model(ui, desk, &chosen);
        }
        self.report(ui, desk);
    }

    /// Hours of work are not lost by one click, and nothing is deleted that is being made.
    fn deletion(&mut self, ui: &mut Ui, desk: &mut Desk, chosen: &Chosen) {
        let is_doomed = self.doomed.as_ref() == Some(&chosen.name);
        let text = if is_doomed { Text::DeleteIndexSure } else { Text::DeleteIndex };
        let is_possible = self.deletion.is_none() && self.indexing.is_none();
        let delete = ui.add_enabled(is_possible, Button::new(desk.text(text))).on_hover_text(desk.text(Text::DeleteIndexHint));
        if !delete.clicked() {
            return;
        }
        self.doomed = (!is_doomed).then(|| chosen.name.clone());
        if is_doomed {
            self.deletion = Some(desk.engine.send(Job::DeleteCollection { name: chosen.name.clone() }, Vec::new()));
        }
    }

    fn choice(&mut self, ui: &mut Ui, desk: &Desk, chosen: &Chosen) {
        let Some(list) = self.list.answer() else { return };
        let shown = |collection: &Collection| {
            if let Some(damage) = &collection.damage {
                return format!("{} · {damage}", collection.name);
            }
            let folder = collection.root.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(&collection.root);
            let model = collection.model.rsplit(['/', '\\']).next().unwrap_or(&collection.model);
            format!("{folder} · {} · {model}", collection.pictures)
        };
        let mut name = chosen.name.clone();
        let current = list.iter().find(|collection| collection.name == name).map(shown).unwrap_or_default();
        let label = ui.label(desk.text(Text::Folder)).id;
        let choice = ComboBox::from_id_salt("collection").width(280.0).selected_text(bidi::words(ui, &current)).show_ui(ui, |ui| {
            for collection in list {
                let text = bidi::words(ui, &shown(collection));
                ui.selectable_value(&mut name, collection.name.clone(), text).on_hover_text(&collection.root);
            }
        });
        choice.response.labelled_by(label).on_hover_text(&chosen.root);
        if name != chosen.name {
            self.chosen = Some(name);
            self.version += 1;
        }
    }

    /// How far the folder is that is being indexed.
    fn progress(&mut self, ui: &mut Ui, desk: &mut Desk) {
        let Some(indexing) = &mut self.indexing else { return };
        let mut is_stopped = false;
        ui.horizontal_wrapped(|ui| {
            let (done, total) = indexing.progress.map_or((0, 0), |progress| (progress.done, progress.total));
            ui.add(ProgressBar::new(done as f32 / total.max(1) as f32).desired_width(160.0).desired_height(8.0));
            let mut line = desk.fill(Text::IndexingOf, &[&indexing.root]);
            if total > 0 {
                line += &format!(" · {done} / {total}");
            }
            if !self.waiting.is_empty() {
                line += &format!(" (+{})", self.waiting.len());
            }
            if let Some(rate) = indexing.rate().filter(|_| !indexing.is_paused) {
                let minutes = ((total - done) as f64 / rate / 60.0).ceil();
                line += &format!(" · {}", desk.fill(Text::IndexingRate, &[&format!("{rate:.1}"), &format!("{minutes:.0}")]));
            }
            ui.label(bidi::words(ui, &line));
            let text = if indexing.is_paused { Text::Resume } else { Text::Pause };
            if ui.small_button(desk.text(text)).clicked() {
                indexing.is_paused = !indexing.is_paused;
                indexing.marks.clear();
                if let Some(job) = indexing.job.filter(|_| indexing.is_paused) {
                    desk.engine.cancel(job);
                }
            }
            is_stopped = ui.small_button(desk.text(Text::Cancel)).clicked();
        });
        if is_stopped {
            if let Some(job) = indexing.job {
                desk.engine.cancel(job);
            }
            self.indexing = None;
            self.changes += 1;
            self.version += 1;
        }
    }

    /// What to do about a collection that the open model cannot search.
    fn other_model(&mut self, ui: &mut Ui, desk: &mut Desk, chosen: &Chosen) {
        let was = self.list.answer().and_then(|list| list.iter().find(|collection| collection.name == chosen.name));
        let Some(was) = was.filter(|was| was.damage.is_none()).map(|collection| collection.model.clone()) else { return };
        ui.horizontal_wrapped(|ui| {
            let text = desk.fill(Text::IndexedWith, &[&was]);
            ui.label(RichText::new(text).small().color(ui.visuals().warn_fg_color));
            if ui.small_button(desk.fill(Text::OpenModel, &[&was])).clicked() {
                desk.open(ModelSource::known(&was));
            }
            if desk.model.info.is_some() && ui.small_button(desk.text(Text::IndexWithThis)).clicked() {
                self.index(chosen.root.clone());
            }
        });
    }

    /// What came of the last update, until it is closed.
    fn report(&mut self, ui: &mut Ui, desk: &Desk) {
        let Some(report) = &self.report else { return };
        let mut is_closed = false;
        ui.horizontal_wrapped(|ui| {
            let [added, gone] = [report.added, report.gone].map(|count| count.to_string());
            ui.label(RichText::new(desk.fill(Text::IndexedReport, &[&added, &gone])).small());
            if let Some(damage) = &report.rebuilt {
                ui.label(RichText::new(desk.fill(Text::Rebuilt, &[damage])).small().color(ui.visuals().warn_fg_color));
            }
            let lost = report.unreadable.len();
            if lost > 0 || !report.left_out.is_empty() {
                let name = if lost > 0 { desk.fill(Text::Unreadable, &[&lost.to_string()]) } else { desk.text(Text::LeftOut).to_owned() };
                ui.menu_button(RichText::new(name).small(), |ui| {
                    ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
                        for (path, reason) in report.unreadable.iter().take(LISTED) {
                            ui.label(bidi::words(ui, &format!("{path}: {reason}")));
                        }
                        if lost > LISTED {
                            ui.label("…");
                        }
                        ui.label(&report.left_out);
                    });
                });
            }
            is_closed = ui.small_button(desk.text(Text::Close)).clicked();
        });
        if is_closed {
            self.report = None;
        }
    }
}

impl Indexing {
    fn mark(&mut self, now: f64, progress: Progress) {
        self.progress = Some(progress);
        self.marks.push_back((now, progress.done));
        while self.marks.front().is_some_and(|(time, _)| now - time > RATE_SECS) {
            self.marks.pop_front();
        }
    }

    /// Pictures a second.
    fn rate(&self) -> Option<f64> {
        let ((start, first), (end, last)) = (self.marks.front()?, self.marks.back()?);
        (end - start > 0.5 && last > first).then(|| (last - first) as f64 / (end - start))
    }
}
