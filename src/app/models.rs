//! Which model is open, and which others there are.

use eframe::egui::{Align, Context, Grid, Key, Layout, RichText, TextEdit, Ui, Window};

use super::desk::Desk;
use super::strings::Text;
use crate::config::PRESETS;
use crate::engine::ModelSource;

#[derive(Default)]
pub(super) struct ModelPicker {
    pub(super) is_open: bool,
    /// A name or folder that is being typed.
    typed: String,
}

/// The open model's name, short.
pub(super) fn name(desk: &Desk) -> String {
    match desk.model.info.as_ref().map(|info| &info.source) {
        None => "…".to_owned(),
        Some(ModelSource::Demo) => desk.text(Text::DemoModel).to_owned(),
        Some(ModelSource::Named(name)) => {
            let last = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
            last.unwrap_or(name).to_owned()
        }
    }
}

impl ModelPicker {
    pub(super) fn ui(&mut self, context: &Context, desk: &mut Desk) {
        if !self.is_open {
            return;
        }
        let mut is_open = !context.input(|input| input.key_pressed(Key::Escape));
        let mut chosen = None;
        let title = desk.text(Text::Model);
        Window::new(title).id(eframe::egui::Id::unique("models")).open(&mut is_open).collapsible(false).default_width(560.0).show(
            context,
            |ui| {
                chosen = self.contents(ui, desk);
            },
        );
        if let Some(source) = chosen {
            desk.open(source);
            is_open = false;
        }
        self.is_open = is_open;
    }

    fn contents(&mut self, ui: &mut Ui, desk: &mut Desk) -> Option<ModelSource> {
        let mut chosen = None;
        ui.label(RichText::new(desk.text(Text::DemoModel)).strong());
        ui.label(desk.text(Text::DemoAbout));
        if ui.button(desk.text(Text::Open)).clicked() {
            chosen = Some(ModelSource::Demo);
        }
        ui.separator();
        ui.label(RichText::new(desk.text(Text::OpenByName)).strong());
        ui.horizontal(|ui| {
            let field = ui.add(TextEdit::singleline(&mut self.typed).hint_text(desk.text(Text::HubIdHint)).desired_width(320.0));
            let is_entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            let typed = self.typed.trim();
            if (ui.button(desk.text(Text::Open)).clicked() || is_entered) && !typed.is_empty() {
                chosen = Some(ModelSource::Named(typed.to_owned()));
            }
            let label = if desk.host.is_page() { Text::OpenFiles } else { Text::OpenFolder };
            if ui.button(desk.text(label)).clicked() {
                desk.host.pick_model();
            }
        });
        ui.separator();
        ui.label(RichText::new(desk.text(Text::Released)).strong());
        chosen.or_else(|| released(ui, desk))
    }
}

/// The published checkpoints with their sizes.
fn released(ui: &mut Ui, desk: &Desk) -> Option<ModelSource> {
    let mut chosen = None;
    eframe::egui::ScrollArea::vertical().max_height(300.0).show(ui, |ui| {
        Grid::new("released").num_columns(3).striped(true).show(ui, |ui| {
            for preset in PRESETS {
                if ui.button(preset.id).clicked() {
                    chosen = Some(ModelSource::Named(preset.id.to_owned()));
                }
                let config = &preset.config;
                let bytes = 4.0 * config.parameters() as f64;
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    ui.label(format!("{:.1} GB", bytes / 1e9)).on_hover_text(desk.text(Text::DownloadSize));
                });
                let shape = match config.vision.geometry {
                    crate::config::VisionGeometry::NaFlex { .. } => desk.text(Text::NaFlex).to_owned(),
                    crate::config::VisionGeometry::Fixed { image_size } => format!("{image_size} × {image_size}"),
                };
                ui.label(RichText::new(shape).weak());
                ui.end_row();
            }
        });
    });
    chosen
}
