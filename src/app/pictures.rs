//! The pictures that people brought: numbers for the engine, previews for the screen.

use std::collections::BTreeMap;

use eframe::egui::{ColorImage, Context, TextureHandle, TextureOptions};

use super::desk::Engine;
use crate::engine::{AddImage, ImageForm, Job, News, Reply};

/// The number under which the stage gives its scene to the engine; pictures are counted from the one after.
pub(super) const STAGE_IMAGE: u64 = 0;
/// Previews are at most this large: enough for a window, little enough for hundreds of them.
const PREVIEW_SIDE: usize = 1024;

#[derive(Default)]
pub(super) struct Pictures {
    last: u64,
    shown: Vec<Picture>,
    coming: BTreeMap<u64, (u64, String)>,
    /// The picture that panels are about.
    pub(super) chosen: Option<u64>,
}

/// A picture that the engine has.
pub(super) struct Picture {
    /// Its number there.
    pub(super) image: u64,
    pub(super) name: String,
    /// Rows and columns of pixels of the original.
    pub(super) size: [usize; 2],
    pub(super) preview: TextureHandle,
    /// RGB pixels of the preview.
    pub(super) pixels: image::RgbImage,
    /// What the decoder had to leave aside.
    pub(super) warnings: Vec<String>,
}

impl Pictures {
    /// Sends an encoded file to the engine; it is shown when it was decoded there.
    pub(super) fn add(&mut self, engine: &mut Engine, name: String, bytes: Vec<u8>) {
        self.last += 1;
        let job = Job::AddImage(AddImage { image: self.last, form: ImageForm::File, preview_side: PREVIEW_SIDE });
        let id = engine.send(job, bytes);
        self.coming.insert(id, (self.last, name));
    }

    pub(super) fn remove(&mut self, engine: &mut Engine, image: u64) {
        let Some(index) = self.shown.iter().position(|picture| picture.image == image) else { return };
        self.shown.remove(index);
        engine.send(Job::DropImage { image }, Vec::new());
        if self.chosen == Some(image) {
            self.chosen = self.shown.get(index.min(self.shown.len().saturating_sub(1))).map(|picture| picture.image);
        }
    }

    /// Takes what the engine says of pictures; gives what went wrong, for people.
    pub(super) fn hear(&mut self, context: &Context, reply: &Reply) -> Option<String> {
        if !reply.news.is_last() {
            return None;
        }
        let (image, name) = self.coming.remove(&reply.id)?;
        match &reply.news {
            News::Image(info) => {
                let [height, width] = info.preview;
                let pixels = image::RgbImage::from_raw(width as u32, height as u32, reply.bulk.clone())?;
                let colours = ColorImage::from_rgb([width, height], &reply.bulk);
                let preview = context.load_texture(format!("picture {image}"), colours, TextureOptions::LINEAR);
                let size = [info.height, info.width];
                self.shown.push(Picture { image, name, size, preview, pixels, warnings: info.warnings.clone() });
                // The last of several that were dropped together is shown, unless people look at one.
                self.chosen = Some(image);
                None
            }
            News::Failed(failure) => Some(format!("{name}: {}", failure.message)),
            _ => None,
        }
    }

    pub(super) fn all(&self) -> &[Picture] {
        &self.shown
    }

    pub(super) fn chosen(&self) -> Option<&Picture> {
        self.shown.iter().find(|picture| Some(picture.image) == self.chosen)
    }

    /// Chooses the picture this many places further, if there is one.
    pub(super) fn step(&mut self, by: isize) {
        let index = self.shown.iter().position(|picture| Some(picture.image) == self.chosen);
        if let Some(next) = index.and_then(|index| self.shown.get(index.checked_add_signed(by)?)) {
            self.chosen = Some(next.image);
        }
    }

    /// Pictures on their way.
    pub(super) fn coming(&self) -> usize {
        self.coming.len()
    }
}
