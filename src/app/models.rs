//! Which model is open, which others there are, and which of them were downloaded.

mod released;
mod stored;

use eframe::egui::{Context, Key, RichText, ScrollArea, TextEdit, Ui, Window};

use self::stored::StoredModels;
use super::desk::Desk;
use super::strings::Text;
use crate::engine::{ModelSource, Reply};

#[derive(Default)]
pub(super) struct ModelPicker {
    is_open: bool,
    /// A name or folder that is being typed.
    typed: String,
    /// Branch, tag or commit of a model of the hub.
    revision: String,
    /// Whether token tables stay at the hub.
    is_light: bool,
    stored: StoredModels,
}

/// The open model's name, short.
pub(super) fn name(desk: &Desk) -> String {
    match desk.model.info.as_ref().map(|info| info.source.name()) {
        None => "…".to_owned(),
        Some(None) => desk.text(Text::DemoModel).to_owned(),
        Some(Some(name)) => {
            let last = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
            last.unwrap_or(name).to_owned()
        }
    }
}

impl ModelPicker {
    pub(super) fn open(&mut self) {
        self.is_open = true;
        self.stored.forget();
    }

    /// Takes answers about downloaded models.
    pub(super) fn hear(&mut self, desk: &mut Desk, reply: &Reply) {
        if let Some(failure) = self.stored.hear(reply) {
            desk.complain(failure);
        }
    }

    pub(super) fn ui(&mut self, context: &Context, desk: &mut Desk) {
        if !self.is_open {
            return;
        }
        self.stored.ask(desk);
        let mut is_open = !context.input(|input| input.key_pressed(Key::Escape));
        let mut chosen = None;
        let window = Window::new(desk.text(Text::Model)).id(eframe::egui::Id::unique("models")).open(&mut is_open).collapsible(false);
        // As tall as what is in it, which comes and goes, where there is room.
        let height = (context.content_rect().height() - 120.0).max(200.0);
        window.default_size([640.0, height]).resizable(false).show(context, |ui| {
            ScrollArea::vertical().max_height(height).show(ui, |ui| chosen = self.contents(ui, desk));
        });
        if let Some(source) = chosen {
            desk.open(source);
            is_open = false;
        }
        self.is_open = is_open;
    }

    fn contents(&mut self, ui: &mut Ui, desk: &mut Desk) -> Option<ModelSource> {
        let mut chosen = demo(ui, desk);
        ui.separator();
        chosen = self.by_name(ui, desk).or(chosen);
        ui.separator();
        if desk.host.is_page() {
            chosen = self.stored.ui(ui, desk).or(chosen);
            ui.separator();
        }
        ui.label(RichText::new(desk.text(Text::Released)).strong());
        if desk.host.is_page() {
            ui.checkbox(&mut self.is_light, desk.text(Text::LightMode)).on_hover_text(desk.text(Text::LightHint));
            if self.is_light {
                ui.label(RichText::new(desk.text(Text::LightHint)).color(ui.visuals().warn_fg_color));
            }
        }
        released::ui(ui, desk, &self.stored, self.is_light).or(chosen)
    }

    fn by_name(&mut self, ui: &mut Ui, desk: &mut Desk) -> Option<ModelSource> {
        let mut is_chosen = false;
        let label = ui.label(RichText::new(desk.text(Text::OpenByName)).strong()).id;
        ui.horizontal_wrapped(|ui| {
            let name = TextEdit::singleline(&mut self.typed).hint_text(desk.text(Text::HubIdHint)).desired_width(280.0);
            let revision = TextEdit::singleline(&mut self.revision).hint_text("main").desired_width(90.0);
            let revision_name = desk.text(Text::RevisionHint);
            let fields = [ui.add(name).labelled_by(label), ui.add(revision).accessible_name(revision_name).on_hover_text(revision_name)];
            let is_entered = fields.iter().any(|field| field.lost_focus()) && ui.input(|input| input.key_pressed(Key::Enter));
            is_chosen = ui.button(desk.text(Text::Open)).clicked() || is_entered;
            let label = if desk.host.is_page() { Text::OpenFiles } else { Text::OpenFolder };
            if ui.button(desk.text(label)).clicked() {
                desk.host.pick_model();
            }
        });
        let (name, revision) = (self.typed.trim(), self.revision.trim());
        (is_chosen && !name.is_empty()).then(|| source(with_revision(name, revision), self.is_light))
    }
}

fn demo(ui: &mut Ui, desk: &Desk) -> Option<ModelSource> {
    ui.label(RichText::new(desk.text(Text::DemoModel)).strong());
    ui.label(desk.text(Text::DemoAbout));
    ui.button(desk.text(Text::Open)).clicked().then_some(ModelSource::Demo)
}

fn source(name: String, is_light: bool) -> ModelSource {
    if is_light { ModelSource::Light(name) } else { ModelSource::Named(name) }
}

/// The name that opens a model; `main` need not be said.
fn with_revision(name: &str, revision: &str) -> String {
    if revision.is_empty() || revision == "main" { name.to_owned() } else { format!("{name}@{revision}") }
}

/// Bytes for people.
fn amount(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1e9 { format!("{:.0} MB", (bytes / 1e6).ceil()) } else { format!("{:.1} GB", bytes / 1e9) }
}
