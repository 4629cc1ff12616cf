//! The pictures that people brought: numbers for the engine, previews for the screen.

use std::collections::{BTreeMap, VecDeque};

use eframe::egui::{ColorImage, Context, TextureHandle, TextureOptions};

use super::desk::Engine;
use super::host::Frame;
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
    camera: Option<Camera>,
}

/// A picture that changes.
struct Camera {
    image: u64,
    /// When the last frames were taken, in seconds.
    times: VecDeque<f64>,
}

/// Frames over which their rate is taken.
const RATE_FRAMES: usize = 12;

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
    /// Goes up with every frame of a camera: what was known of the one before is out of date.
    pub(super) version: u32,
}

impl Pictures {
    /// Sends an encoded file to the engine; it is shown when it was decoded there.
    pub(super) fn add(&mut self, engine: &mut Engine, name: String, bytes: Vec<u8>) {
        self.send(engine, name, ImageForm::File, bytes);
    }

    /// Sends a picture that somebody else has decoded; where it is transparent, it has the colours that lie there.
    pub(super) fn add_pixels(&mut self, engine: &mut Engine, name: &str, picture: &ColorImage) {
        let [width, height] = picture.size;
        let pixels = picture.pixels.iter().flat_map(|pixel| {
            let [red, green, blue, _] = pixel.to_srgba_unmultiplied();
            [red, green, blue]
        });
        self.send(engine, name.to_owned(), ImageForm::Pixels { height, width }, pixels.collect());
    }

    fn send(&mut self, engine: &mut Engine, name: String, form: ImageForm, bulk: Vec<u8>) {
        self.last += 1;
        let id = engine.send(Job::AddImage(AddImage { image: self.last, form, preview_side: PREVIEW_SIDE }), bulk);
        self.coming.insert(id, (self.last, name));
    }

    /// Shows what a camera sees, in place of what it saw before.
    pub(super) fn show_frame(&mut self, context: &Context, engine: &mut Engine, frame: Frame) {
        let Frame { height, width, pixels } = frame;
        let Some(copy) = image::RgbImage::from_raw(width as u32, height as u32, pixels.clone()) else { return };
        let colours = ColorImage::from_rgb([width, height], &pixels);
        let camera = self.camera.get_or_insert_with(|| {
            self.last += 1;
            Camera { image: self.last, times: VecDeque::new() }
        });
        let image = camera.image;
        camera.times.push_back(context.input(|input| input.time));
        while camera.times.len() > RATE_FRAMES {
            camera.times.pop_front();
        }
        engine.send(Job::AddImage(AddImage { image, form: ImageForm::Pixels { height, width }, preview_side: 0 }), pixels);
        if let Some(shown) = self.shown.iter_mut().find(|picture| picture.image == image) {
            shown.preview.set(colours, TextureOptions::LINEAR);
            (shown.size, shown.pixels, shown.version) = ([height, width], copy, shown.version.wrapping_add(1));
            return;
        }
        let preview = context.load_texture("camera", colours, TextureOptions::LINEAR);
        let (name, warnings) = ("camera".to_owned(), Vec::new());
        self.shown.push(Picture { image, name, size: [height, width], preview, pixels: copy, warnings, version: 0 });
        self.chosen = Some(image);
    }

    /// The camera is off. Its last picture stays, as any other.
    pub(super) fn end_camera(&mut self) {
        self.camera = None;
    }

    /// Frames of the camera that were looked at in a second.
    pub(super) fn camera_rate(&self) -> Option<f64> {
        let times = &self.camera.as_ref()?.times;
        let span = times.back()? - times.front()?;
        (times.len() > 1 && span > 0.0).then(|| (times.len() - 1) as f64 / span)
    }

    pub(super) fn get(&self, image: u64) -> Option<&Picture> {
        self.shown.iter().find(|picture| picture.image == image)
    }

    /// Counts the changes of a picture.
    pub(super) fn version(&self, image: u64) -> u32 {
        self.get(image).map_or(0, |picture| picture.version)
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
                self.shown.push(Picture { image, name, size, preview, pixels, warnings: info.warnings.clone(), version: 0 });
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
        self.get(self.chosen?)
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
