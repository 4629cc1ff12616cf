//! What the app needs from where it runs: a window, or a page.

use eframe::egui::DroppedFileHandle;

/// Files, links and languages, which differ between a window and a page. None of its calls wait: what they bring arrives later.
pub trait Host {
    /// Lets people choose pictures. They arrive one by one.
    fn pick_pictures(&mut self);

    /// Lets people choose a checkpoint's folder or files.
    fn pick_model(&mut self);

    /// Reads files that were dropped: pictures, or a checkpoint.
    fn take(&mut self, files: Vec<DroppedFileHandle>);

    /// Writes a file where people want it.
    fn save(&mut self, name: &str, bytes: Vec<u8>);

    /// What has come in since the last call.
    fn arrivals(&mut self) -> Vec<Arrival>;

    /// What the app was opened with, after the `#` of a page's address.
    fn fragment(&self) -> String;

    /// The address that opens the app with this fragment; a page shows it as its own.
    fn link(&mut self, fragment: &str) -> String;

    /// The person's languages, the best first: "ja-JP".
    fn languages(&self) -> Vec<String>;

    /// Whether a model has to be downloaded into the browser: sizes matter more there.
    fn is_page(&self) -> bool;
}

/// What a [`Host`] brings.
#[derive(Debug)]
pub enum Arrival {
    /// A file that may be a picture.
    Picture {
        /// Its name.
        name: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// A model by the name that opens it.
    Model(String),
    /// A file was written.
    Saved(String),
    /// Something did not work; for people.
    Failed(String),
}
