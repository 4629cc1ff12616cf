//! The published checkpoints: what they take, and whether they fit.

use eframe::egui::{Grid, RichText, Ui};

use super::super::desk::Desk;
use super::super::strings::Text;
use super::stored::StoredModels;
use super::{amount, source};
use crate::config::{ModelConfig, PRESETS, Preset, VisionGeometry};
use crate::engine::ModelSource;

/// What a page can use without a GPU: WebAssembly has 4 GiB, and pictures and intermediate results need their part.
const PAGE_BYTES: u64 = 3 << 30;

pub(super) fn ui(ui: &mut Ui, desk: &Desk, stored: &StoredModels, is_light: bool) -> Option<ModelSource> {
    let mut chosen = None;
    Grid::new("released").num_columns(5).striped(true).show(ui, |ui| {
        for preset in &PRESETS {
            if ui.button(preset.id).clicked() {
                chosen = Some(source(preset.id.to_owned(), is_light));
            }
            row(ui, desk, stored, preset, is_light);
            ui.end_row();
        }
    });
    chosen
}

fn row(ui: &mut Ui, desk: &Desk, stored: &StoredModels, preset: &Preset, is_light: bool) {
    let config = &preset.config;
    let shape = match config.vision.geometry {
        VisionGeometry::NaFlex { .. } => desk.text(Text::NaFlex).to_owned(),
        VisionGeometry::Fixed { image_size } => format!("{image_size} × {image_size}"),
    };
    ui.label(RichText::new(shape).weak());
    ui.label(format!("{} {}", desk.text(Text::DownloadSize), amount(download_bytes(config, is_light))));
    let memory = format!("{} {}", desk.text(Text::Memory), amount(memory_bytes(config)));
    ui.label(memory).on_hover_text(desk.text(Text::MemoryHint));
    let is_stored = stored.find(preset.id).is_some_and(|model| model.complete || (is_light && model.light));
    ui.horizontal(|ui| {
        if is_stored {
            ui.label(RichText::new(desk.text(Text::IsStored)).weak());
        }
        if let Some((concern, hint)) = concern(config, is_light, desk.host.is_page(), stored.free().filter(|_| !is_stored)) {
            let text = RichText::new(desk.text(concern)).color(ui.visuals().warn_fg_color);
            ui.label(text).on_hover_text(desk.text(hint));
        }
    });
}

/// Why a model may not work, and what that means.
fn concern(config: &ModelConfig, is_light: bool, is_page: bool, free: Option<u64>) -> Option<(Text, Text)> {
    if free.is_some_and(|free| free < download_bytes(config, is_light)) {
        return Some((Text::NoRoom, Text::NoRoomHint));
    }
    (is_page && memory_bytes(config) > PAGE_BYTES).then_some((Text::NeedsGpu, Text::NeedsGpuHint))
}

/// Released weights are f32. A light model is without its token table.
fn download_bytes(config: &ModelConfig, is_light: bool) -> u64 {
    if is_light { memory_bytes(config) } else { 4 * config.parameters() }
}

/// All but the token table, which stays in its file.
fn memory_bytes(config: &ModelConfig) -> u64 {
    4 * (config.parameters() - (config.text.vocab_size * config.text.tower.width) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_are_for_models_that_are_too_large() {
        let config = |name: &str| &PRESETS.iter().find(|preset| preset.id.ends_with(name)).unwrap().config;
        let (base, giant) = (config("base-patch16-naflex"), config("giant-opt-patch16-384"));
        assert_eq!(amount(download_bytes(base, false)), "1.5 GB");
        assert_eq!(amount(memory_bytes(base)), "715 MB");
        assert!(concern(base, false, true, None).is_none() && concern(base, false, true, Some(2 << 30)).is_none());
        assert!(matches!(concern(base, false, true, Some(1 << 30)), Some((Text::NoRoom, _))));
        assert!(concern(base, true, true, Some(1 << 30)).is_none());
        assert!(matches!(concern(giant, false, true, None), Some((Text::NeedsGpu, _))));
        assert!(concern(giant, false, false, None).is_none());
    }
}
