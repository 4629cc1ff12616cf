//! The published checkpoints: what they take, and whether they fit.

use eframe::egui::{Grid, RichText, Ui};

use super::super::desk::Desk;
use super::super::strings::Text;
use super::amount;
use super::stored::StoredModels;
use crate::config::{ModelConfig, PRESETS, Preset, VisionGeometry};
use crate::engine::ModelSource;

/// What a page can use without a GPU: WebAssembly has 4 GiB, and pictures and intermediate results need their part.
const PAGE_BYTES: u64 = 3 << 30;

pub(super) fn ui(ui: &mut Ui, desk: &Desk, stored: &StoredModels) -> Option<ModelSource> {
    let mut chosen = None;
    Grid::new("released").num_columns(5).striped(true).show(ui, |ui| {
        for preset in &PRESETS {
            if ui.button(preset.id).clicked() {
                chosen = Some(ModelSource::Named(preset.id.to_owned()));
            }
            row(ui, desk, stored, preset);
            ui.end_row();
        }
    });
    chosen
}

fn row(ui: &mut Ui, desk: &Desk, stored: &StoredModels, preset: &Preset) {
    let config = &preset.config;
    let shape = match config.vision.geometry {
        VisionGeometry::NaFlex { .. } => desk.text(Text::NaFlex).to_owned(),
        VisionGeometry::Fixed { image_size } => format!("{image_size} × {image_size}"),
    };
    ui.label(RichText::new(shape).weak());
    ui.label(format!("{} {}", desk.text(Text::DownloadSize), amount(download_bytes(config))));
    let memory = format!("{} {}", desk.text(Text::Memory), amount(memory_bytes(config)));
    ui.label(memory).on_hover_text(desk.text(Text::MemoryHint));
    let is_stored = stored.find(preset.id).is_some_and(|model| model.complete);
    ui.horizontal(|ui| {
        if is_stored {
            ui.label(RichText::new(desk.text(Text::IsStored)).weak());
        }
        if let Some((concern, hint)) = concern(config, desk.host.is_page(), stored.free().filter(|_| !is_stored)) {
            let text = RichText::new(desk.text(concern)).color(ui.visuals().warn_fg_color);
            ui.label(text).on_hover_text(desk.text(hint));
        }
    });
}

/// Why a model may not work, and what that means.
fn concern(config: &ModelConfig, is_page: bool, free: Option<u64>) -> Option<(Text, Text)> {
    if free.is_some_and(|free| free < download_bytes(config)) {
        return Some((Text::NoRoom, Text::NoRoomHint));
    }
    (is_page && memory_bytes(config) > PAGE_BYTES).then_some((Text::NeedsGpu, Text::NeedsGpuHint))
}

/// Released weights are f32.
fn download_bytes(config: &ModelConfig) -> u64 {
    4 * config.parameters()
}

/// All but the token table, which stays in its file.
fn memory_bytes(config: &ModelConfig) -> u64 {
    download_bytes(config) - 4 * (config.text.vocab_size * config.text.tower.width) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_are_for_models_that_are_too_large() {
        let config = |name: &str| &PRESETS.iter().find(|preset| preset.id.ends_with(name)).unwrap().config;
        let (base, giant) = (config("base-patch16-naflex"), config("giant-opt-patch16-384"));
        assert_eq!(amount(download_bytes(base)), "1.5 GB");
        assert_eq!(amount(memory_bytes(base)), "715 MB");
        assert!(concern(base, true, None).is_none() && concern(base, true, Some(2 << 30)).is_none());
        assert!(matches!(concern(base, true, Some(1 << 30)), Some((Text::NoRoom, _))));
        assert!(matches!(concern(giant, true, None), Some((Text::NeedsGpu, _))));
        assert!(concern(giant, false, None).is_none());
    }
}
