//! Models of the hub that were downloaded: how large they are, and deleting them.

use eframe::egui::{Button, Grid, RichText, Ui};

use super::super::desk::Desk;
use super::super::strings::Text;
use super::super::wanted::Wanted;
use super::{amount, source, with_revision};
use crate::engine::{Job, ModelSource, News, Reply, Stored, StoredModel};

#[derive(Default)]
pub(super) struct StoredModels {
    list: Wanted<State, Stored>,
    /// Goes up when the list may have changed by something else than opening a model.
    changes: u32,
    deletion: Option<u64>,
}

/// What the list depends on: opened models, failures to open one, other changes.
type State = (u32, bool, u32);

impl StoredModels {
    /// Has the list asked for again.
    pub(super) fn forget(&mut self) {
        self.changes += 1;
    }

    pub(super) fn ask(&mut self, desk: &mut Desk) {
        // The engine does one thing at a time: during a download it would not answer.
        if !desk.is_opening() {
            let state = (desk.model.epoch, desk.model.failure.is_some(), self.changes);
            self.list.want(state, |_| desk.engine.send(Job::Stored, Vec::new()));
        }
    }

    /// Takes an answer; gives the reason if a model could not be deleted.
    pub(super) fn hear(&mut self, reply: &Reply) -> Option<String> {
        self.list.hear(reply, |reply| if let News::Stored(stored) = &reply.news { Some(stored.clone()) } else { None });
        if self.deletion != Some(reply.id) || !reply.news.is_last() {
            return None;
        }
        self.deletion = None;
        self.forget();
        if let News::Failed(failure) = &reply.news { Some(failure.message.clone()) } else { None }
    }

    /// The released model of this id, if it was downloaded.
    pub(super) fn find(&self, id: &str) -> Option<&StoredModel> {
        self.list.answer()?.models.iter().find(|model| model.name == id && model.revision == "main")
    }

    /// Bytes that may still be downloaded.
    pub(super) fn free(&self) -> Option<u64> {
        let stored = self.list.answer()?;
        Some(stored.quota?.saturating_sub(stored.usage))
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk) -> Option<ModelSource> {
        ui.label(RichText::new(desk.text(Text::Downloaded)).strong());
        if let Some(failure) = self.list.failure() {
            ui.colored_label(ui.visuals().warn_fg_color, &failure.message);
        }
        let Stored { models, usage, quota } = self.list.answer()?.clone();
        let mut chosen = None;
        if models.is_empty() {
            ui.label(desk.text(Text::NothingDownloaded));
        }
        Grid::new("stored").num_columns(3).striped(true).show(ui, |ui| {
            for model in &models {
                chosen = self.row(ui, desk, model).or(chosen.take());
                ui.end_row();
            }
        });
        let limit = quota.map(|quota| format!(" / {}", amount(quota))).unwrap_or_default();
        ui.label(RichText::new(format!("{}: {}{limit}", desk.text(Text::StorageUse), amount(usage))).weak());
        chosen
    }

    fn row(&mut self, ui: &mut Ui, desk: &mut Desk, model: &StoredModel) -> Option<ModelSource> {
        let name = with_revision(&model.name, &model.revision);
        let is_chosen = ui.button(&name).clicked();
        ui.horizontal(|ui| {
            ui.label(amount(model.bytes));
            if model.light && !model.complete {
                ui.label(RichText::new(desk.text(Text::IsLight)).weak());
            } else if !model.complete {
                ui.label(RichText::new(desk.text(Text::Incomplete)).color(ui.visuals().warn_fg_color));
            }
        });
        let source = source(name, model.light && !model.complete);
        let is_open = desk.model.info.as_ref().is_some_and(|info| info.source.name() == source.name());
        let delete = ui.add_enabled(!is_open && self.deletion.is_none(), Button::new(desk.text(Text::Delete)));
        if delete.on_disabled_hover_text(desk.text(Text::IsOpen)).clicked() {
            let name = format!("{}@{}", model.name, model.revision);
            self.deletion = Some(desk.engine.send(Job::DeleteStored { name }, Vec::new()));
        }
        is_chosen.then_some(source)
    }
}
