//! The emoji that people can put on the stage.

use std::collections::BTreeMap;

use eframe::egui::{ColorImage, Context, Pos2, Rect, TextureHandle, TextureOptions, pos2};
use image::RgbaImage;

use super::super::assets::Assets;
use super::compose::SHEET_SIDE;

/// A sheet of emoji with their names.
pub(super) struct Palette {
    pub(super) sheet: &'static RgbaImage,
    pub(super) entries: Vec<Entry>,
    texture: Option<TextureHandle>,
}

/// One emoji.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Entry {
    pub(super) emoji: String,
    /// By language: "en", "ja", …
    pub(super) names: BTreeMap<String, String>,
}

impl Palette {
    /// Reads the app's own files; empty if they are damaged.
    pub(super) fn new(assets: &Assets) -> Self {
        let sheet = assets.palette;
        let entries: Vec<Entry> = serde_json::from_slice(assets.palette_names).unwrap_or_default();
        let entries = if sheet.width() < SHEET_SIDE as u32 { Vec::new() } else { entries };
        Self { sheet, entries, texture: None }
    }

    /// The sheet for the screen.
    pub(super) fn texture(&mut self, context: &Context) -> &TextureHandle {
        let sheet = self.sheet;
        self.texture.get_or_insert_with(|| {
            let size = [sheet.width() as usize, sheet.height() as usize];
            let colours = ColorImage::from_rgba_unmultiplied(size, sheet.as_raw());
            context.load_texture("palette", colours, TextureOptions::LINEAR)
        })
    }

    /// The part of the sheet that shows an emoji.
    pub(super) fn uv(place: usize) -> Rect {
        let corner = |x: usize, y: usize| -> Pos2 { pos2(x as f32, y as f32) / SHEET_SIDE as f32 };
        let (x, y) = (place % SHEET_SIDE, place / SHEET_SIDE);
        Rect::from_min_max(corner(x, y), corner(x + 1, y + 1))
    }

    pub(super) fn place_of(&self, emoji: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.emoji == emoji)
    }

    /// The emoji's name in a language, or in English.
    pub(super) fn name(&self, place: usize, language: &str) -> &str {
        let names = self.entries.get(place).map(|entry| &entry.names);
        names.and_then(|names| names.get(language).or_else(|| names.get("en"))).map(String::as_str).unwrap_or_default()
    }

    /// The emoji that has this name in some language.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        let name = name.trim().to_lowercase();
        self.entries.iter().position(|entry| entry.names.values().any(|own| own.to_lowercase() == name))
    }
}
