//! What the app needs from where it runs: a window, or a page.

use std::path::{Path, PathBuf};

use eframe::egui::DroppedFileHandle;

/// Files, links and languages, which differ between a window and a page. None of its calls wait: what they bring arrives later.
pub trait Host {
    /// Lets people choose pictures. They arrive one by one.
    fn pick_pictures(&mut self);

    /// Lets people choose a checkpoint's folder or files.
    fn pick_model(&mut self);

    /// Whether folders can be indexed.
    fn has_folders(&self) -> bool {
        false
    }

    /// Lets people choose a folder of pictures.
    fn pick_folder(&mut self) {}

    /// Whether folders of pictures that are dropped from now on are to be indexed, where a page has to know before.
    fn index_dropped(&mut self, _is_wanted: bool) {}

    /// What queries call files that were dropped.
    fn name_dropped(&mut self, files: Vec<DroppedFileHandle>) -> Vec<String> {
        files.iter().map(|file| file.path().display().to_string()).collect()
    }

    /// Whether something that was dropped is a folder of pictures.
    fn is_folder(&self, _path: &Path) -> bool {
        false
    }

    /// Whether something that was dropped is a checkpoint, or a file of one.
    fn is_model(&self, path: &Path) -> bool {
        is_model_file(path)
    }

    /// Reads a picture of this machine.
    fn read(&mut self, _picture: PathBuf) {}

    /// Shows a file among others, in the system's own file manager.
    fn reveal(&mut self, _file: &Path) {}

    /// Puts a file on the clipboard, to be pasted where files are taken.
    fn copy_file(&mut self, _file: &Path) {}

    /// Whether pictures can be fetched from any address. A page cannot: other sites must not see what its visitors look at.
    fn can_fetch(&self) -> bool {
        false
    }

    /// Fetches a picture from an address.
    fn fetch(&mut self, _address: &str) {}

    /// Reads files that were dropped: pictures, or a checkpoint.
    fn take(&mut self, files: Vec<DroppedFileHandle>);

    /// Reads what was pasted where no text is written, if it names pictures: files, or addresses.
    fn take_text(&mut self, _text: &str) {}

    /// Writes a file where people want it.
    fn save(&mut self, name: &str, bytes: Vec<u8>);

    /// Whether there may be a camera.
    fn has_camera(&self) -> bool {
        false
    }

    /// Switches the camera on or off. What it sees is never stored.
    fn set_camera(&mut self, _is_on: bool) {}

    /// What the camera sees now; nothing if it is off or not ready. Whoever wants more asks again, so that a slow model misses frames and nothing piles up.
    fn camera_frame(&mut self) -> Option<Frame> {
        None
    }

    /// What has come in since the last call.
    fn arrivals(&mut self) -> Vec<Arrival>;

    /// What the app was opened with, after the `#` of a page's address.
    fn fragment(&self) -> String;

    /// The address that opens the app with this fragment; a page shows it as its own.
    fn link(&mut self, fragment: &str) -> String;

    /// The person's languages, the best first: "ja-JP".
    fn languages(&self) -> Vec<String>;

    /// Asks the system to keep models and indexes that are stored from now on. Files on a disk stay anyway.
    fn keep_stored(&mut self) {}

    /// Whether a model has to be downloaded into the browser: sizes matter more there.
    fn is_page(&self) -> bool;
}

/// Whether a name is that of a checkpoint's file.
pub fn is_model_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "config.json") || path.extension().is_some_and(|extension| extension == "safetensors")
}

/// A picture from the camera.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// RGB, three bytes a pixel.
    pub pixels: Vec<u8>,
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
    /// A folder of pictures.
    Folder(String),
    /// A model by the name that opens it.
    Model(String),
    /// The camera cannot be used, or not any longer; for people.
    NoCamera(String),
    /// A file was written.
    Saved(String),
    /// Something did not work; for people.
    Failed(String),
}
