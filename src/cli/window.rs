//! `polyglance` alone: the app in a window, with the system's dialogs and this machine's files.

mod camera;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result, anyhow};
use arboard::Clipboard;
use eframe::egui::{Context, DroppedFileHandle, ViewportBuilder, vec2};
use polyglance::app::{App, Arrival, Assets, Frame, Host, is_model_file};
use polyglance::engine::thread::Thread;
use polyglance::limits::Limits;
use polyglance::platform::{block_on, spawn};
use polyglance::weights::replace_file;
use rfd::AsyncFileDialog;

use self::camera::Camera;
use super::exit::Outcome;
use super::inputs;

/// Endings of pictures that can be decoded, for the dialog.
const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif"];

/// Opens the window and stays until it is closed.
///
/// # Errors
/// There is no display, or nothing can draw on it.
pub(crate) fn run() -> Result<Outcome> {
    let viewport = ViewportBuilder::default().with_title("Polyglance").with_app_id("polyglance");
    let options = eframe::NativeOptions {
        viewport: viewport.with_inner_size(vec2(1280.0, 840.0)).with_min_inner_size(vec2(420.0, 480.0)),
        ..eframe::NativeOptions::default()
    };
    let start = |creation: &eframe::CreationContext<'_>| {
        let context = creation.egui_ctx.clone();
        let wake = context.clone();
        // Where a CPU draws, a frame may take so long that a click counts as a long press.
        context.options_mut(|options| options.input_options.max_click_duration = 2.0);
        let transport = Thread::new(move || wake.request_repaint());
        let desktop = Desktop::new(context.clone());
        Ok(Box::new(App::new(&context, Box::new(transport), Box::new(desktop), Assets::inside())) as Box<dyn eframe::App>)
    };
    eframe::run_native("Polyglance", options, Box::new(start)).map_err(|error| anyhow!("no window could be opened: {error}"))?;
    Ok(Outcome::Done)
}

/// This machine's files and dialogs. What takes time runs on a thread of its own.
struct Desktop {
    context: Context,
    sender: Sender<Arrival>,
    receiver: Receiver<Arrival>,
    camera: Option<Camera>,
    /// What was copied lasts as long as it does.
    clipboard: Option<Clipboard>,
}

impl Desktop {
    fn new(context: Context) -> Self {
        let (sender, receiver) = channel();
        Self { context, sender, receiver, camera: None, clipboard: None }
    }

    /// Lets people choose a folder, which arrives as `what`.
    fn pick(&self, what: impl FnOnce(String) -> Arrival + Send + 'static) {
        let chosen = AsyncFileDialog::new().pick_folder();
        self.aside(move |say| {
            if let Some(folder) = block_on(chosen) {
                say(what(folder.path().display().to_string()));
            }
        });
    }

    /// Runs `work` on another thread; what it says arrives when it is said.
    fn aside(&self, work: impl FnOnce(&dyn Fn(Arrival)) + Send + 'static) {
        let (sender, context) = (self.sender.clone(), self.context.clone());
        let failed = self.sender.clone();
        let started = spawn("files", move || {
            work(&|arrival| {
                // A window that is closed wants no more.
                let _ = sender.send(arrival);
                context.request_repaint();
            });
        });
        if let Err(error) = started {
            let _ = failed.send(Arrival::Failed(format!("no thread could be started: {error}")));
        }
    }
}

impl Host for Desktop {
    fn pick_pictures(&mut self) {
        // Made here, since some systems show dialogs for the main thread only.
        let chosen = AsyncFileDialog::new().add_filter("pictures", &EXTENSIONS).pick_files();
        self.aside(move |say| {
            let files = block_on(chosen).unwrap_or_default();
            deliver(&files.iter().map(|file| file.path().to_owned()).collect::<Vec<_>>(), say);
        });
    }

    fn pick_model(&mut self) {
        self.pick(Arrival::Model);
    }

    fn has_folders(&self) -> bool {
        cfg!(feature = "index")
    }

    fn pick_folder(&mut self) {
        self.pick(Arrival::Folder);
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir() && !self.is_model(path)
    }

    fn is_model(&self, path: &Path) -> bool {
        model_folder(path).is_some()
    }

    fn read(&mut self, picture: PathBuf) {
        self.aside(move |say| deliver(&[picture], say));
    }

    fn reveal(&mut self, file: &Path) {
        let file = file.to_owned();
        self.aside(move |say| {
            if let Err(error) = opener::reveal(&file) {
                say(Arrival::Failed(format!("{}: {error}", file.display())));
            }
        });
    }

    fn copy_file(&mut self, file: &Path) {
        let copied = match self.clipboard.take().map_or_else(Clipboard::new, Ok) {
            Ok(mut clipboard) => {
                let copied = clipboard.set().file_list(&[file]);
                self.clipboard = Some(clipboard);
                copied
            }
            Err(error) => Err(error),
        };
        if let Err(error) = copied {
            let _ = self.sender.send(Arrival::Failed(format!("{}: {error}", file.display())));
        }
    }

    fn can_fetch(&self) -> bool {
        cfg!(feature = "hub")
    }

    fn fetch(&mut self, address: &str) {
        let address = address.trim().to_owned();
        self.aside(move |say| {
            let name = address.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or(&address).to_owned();
            say(match download(&address) {
                Ok(bytes) => Arrival::Picture { name, bytes },
                Err(error) => Arrival::Failed(format!("{address}: {error:#}")),
            });
        });
    }

    fn take(&mut self, files: Vec<DroppedFileHandle>) {
        self.aside(move |say| deliver(&files.iter().map(|file| file.path().to_owned()).collect::<Vec<_>>(), say));
    }

    fn take_text(&mut self, text: &str) {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let is_address = |line: &str| line.starts_with("https://") || line.starts_with("http://");
        let paths: Vec<PathBuf> = lines().filter(|line| !is_address(line)).map(PathBuf::from).collect();
        if !paths.is_empty() && paths.iter().all(|path| path.is_absolute() && path.exists()) {
            self.aside(move |say| deliver(&paths, say));
        } else if paths.is_empty() && self.can_fetch() {
            lines().for_each(|address| self.fetch(address));
        }
    }

    fn save(&mut self, name: &str, bytes: Vec<u8>) {
        let chosen = AsyncFileDialog::new().set_file_name(name).save_file();
        self.aside(move |say| {
            let Some(file) = block_on(chosen) else { return };
            say(match write(file.path(), &bytes) {
                Ok(()) => Arrival::Saved(file.path().display().to_string()),
                Err(error) => Arrival::Failed(format!("{error:#}")),
            });
        });
    }

    fn has_camera(&self) -> bool {
        true
    }

    fn set_camera(&mut self, is_on: bool) {
        self.camera = None;
        if !is_on {
            return;
        }
        let (sender, context) = (self.sender.clone(), self.context.clone());
        let fail = move |reason: String| {
            let _ = sender.send(Arrival::NoCamera(reason));
            context.request_repaint();
        };
        match Camera::start(fail.clone()) {
            Ok(camera) => self.camera = Some(camera),
            Err(error) => fail(format!("{error:#}")),
        }
    }

    fn camera_frame(&mut self) -> Option<Frame> {
        self.camera.as_ref()?.frame()
    }

    fn arrivals(&mut self) -> Vec<Arrival> {
        self.receiver.try_iter().collect()
    }

    fn fragment(&self) -> String {
        String::new()
    }

    fn link(&mut self, fragment: &str) -> String {
        format!("#{fragment}")
    }

    fn languages(&self) -> Vec<String> {
        sys_locale::get_locales().collect()
    }

    fn is_page(&self) -> bool {
        false
    }
}

/// The file at an address, if it is no larger than a picture may be.
#[cfg(feature = "hub")]
fn download(address: &str) -> Result<Vec<u8>> {
    let limit = Limits::current().encoded_image_bytes;
    let mut response = ureq::get(address).call()?;
    Ok(response.body_mut().with_config().limit(limit).read_to_vec()?)
}

#[cfg(not(feature = "hub"))]
fn download(_address: &str) -> Result<Vec<u8>> {
    anyhow::bail!("this build cannot fetch anything; it lacks the feature hub")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_file(path, |writer| writer.write_all(bytes)).with_context(|| path.display().to_string())
}

/// Reads what was chosen or dropped: a model's folder, or pictures, in folders too.
fn deliver(paths: &[PathBuf], say: &dyn Fn(Arrival)) {
    if let Some(model) = paths.iter().find_map(|path| model_folder(path)) {
        return say(Arrival::Model(model.display().to_string()));
    }
    let found = match inputs::expand(paths) {
        Ok(found) => found,
        Err(error) => return say(Arrival::Failed(format!("{error:#}"))),
    };
    for picture in found.pictures {
        let name = picture.path.file_name().unwrap_or(picture.path.as_os_str()).to_string_lossy().into_owned();
        say(match picture.read() {
            Ok(bytes) => Arrival::Picture { name, bytes: bytes.into_owned() },
            Err(error) => Arrival::Failed(format!("{}: {error:#}", picture.path.display())),
        });
    }
}

/// The checkpoint's folder if this is one, or a file of one.
fn model_folder(path: &Path) -> Option<&Path> {
    let folder = if path.is_dir() { path } else { path.parent().filter(|_| is_model_file(path))? };
    folder.join("config.json").is_file().then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(paths: &[&str]) -> Vec<Arrival> {
        let said = std::cell::RefCell::new(Vec::new());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        deliver(&paths.iter().map(|path| root.join(path)).collect::<Vec<_>>(), &|arrival| said.borrow_mut().push(arrival));
        said.into_inner()
    }

    #[test]
    fn a_checkpoint_is_a_model_and_pictures_are_pictures() {
        for path in ["assets/demo", "assets/demo/config.json", "assets/demo/model.safetensors"] {
            assert!(matches!(&delivered(&[path])[..], [Arrival::Model(folder)] if folder.ends_with("demo")), "{path}");
        }
        let arrivals = delivered(&["assets/demo/samples"]);
        assert!(arrivals.len() == 12 && arrivals.iter().all(|arrival| matches!(arrival, Arrival::Picture { .. })));
        assert!(matches!(&delivered(&["no such picture.jpg"])[..], [Arrival::Failed(message)] if message.contains("no such picture.jpg")));
    }
}
