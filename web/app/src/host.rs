//! Files, links and languages of a page.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::camera::Camera;
use crate::folders::{self, Files};
use eframe::egui::{Context, DroppedFileHandle};
use js_sys::{Array, Reflect, Uint8Array};
use polyglance::app::{Arrival, Frame, Host, is_model_file};
use polyglance::engine::worker::WorkerTransport;
use polyglance::limits::Limits;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, ClipboardEvent, Event, File, HtmlAnchorElement, HtmlInputElement, Url, window};

/// The browser's files and address.
pub(crate) struct Page {
    inbox: Inbox,
    /// The input that was clicked last: the browser drops one that nobody holds, and its choice with it.
    input: Option<(HtmlInputElement, Listener)>,
    camera: Option<Camera>,
    _paste: Option<Closure<dyn FnMut(ClipboardEvent)>>,
    _folders: Option<folders::Listener>,
}

type Listener = Closure<dyn FnMut(Event)>;

/// Where files arrive.
#[derive(Clone)]
struct Inbox {
    context: Context,
    transport: WorkerTransport,
    arrivals: Rc<RefCell<Vec<Arrival>>>,
    /// Models from files, counted: each has a name of its own.
    models: Rc<Cell<u32>>,
    /// Whether a folder of pictures is to be indexed, and not looked at.
    indexes: Rc<Cell<bool>>,
}

impl Page {
    pub(crate) fn new(context: Context, transport: WorkerTransport) -> Self {
        let (arrivals, models, indexes) = Default::default();
        let inbox = Inbox { context, transport, arrivals, models, indexes };
        let paste = listen_for_pictures(&inbox);
        let dropped = inbox.clone();
        let folders = folders::listen(move |files| match files {
            Ok(files) => dropped.take_folder(files),
            Err(reason) => dropped.say(Arrival::Failed(reason)),
        });
        Self { inbox, input: None, camera: None, _paste: paste, _folders: folders }
    }

    /// Opens the browser's dialog for files.
    fn pick(&mut self, adapt: impl Fn(&HtmlInputElement), take: impl Fn(&Inbox, Vec<File>) + 'static) {
        let Some(input) = element::<HtmlInputElement>("input") else { return };
        input.set_type("file");
        input.set_multiple(true);
        adapt(&input);
        let inbox = self.inbox.clone();
        let chosen = input.clone();
        let listener = Listener::new(move |_| {
            let files = chosen.files().map(|list| (0..list.length()).filter_map(|index| list.get(index)).collect());
            take(&inbox, files.unwrap_or_default());
        });
        input.set_onchange(Some(listener.as_ref().unchecked_ref()));
        input.click();
        self.input = Some((input, listener));
    }
}

impl Host for Page {
    fn pick_pictures(&mut self) {
        self.pick(|input| input.set_accept("image/*"), Inbox::take);
    }

    fn pick_model(&mut self) {
        // A folder, as checkpoints are.
        self.pick(choose_folder, Inbox::take);
    }

    fn has_folders(&self) -> bool {
        true
    }

    fn pick_folder(&mut self) {
        let path = |file: File| Some((Reflect::get(&file, &"webkitRelativePath".into()).ok()?.as_string()?, file));
        self.pick(choose_folder, move |inbox, files| inbox.index(files.into_iter().filter_map(path).collect()));
    }

    fn index_dropped(&mut self, is_wanted: bool) {
        self.inbox.indexes.set(is_wanted);
    }

    fn name_dropped(&mut self, files: Vec<DroppedFileHandle>) -> Vec<String> {
        let files: Files = files.iter().filter_map(|file| file.web_file().cloned()).map(|file| (file.name(), file)).collect();
        let names = files.iter().map(|(name, _)| format!("{}{name}", WorkerTransport::DROPPED)).collect();
        self.inbox.transport.files(WorkerTransport::DROPPED, files);
        names
    }

    fn read(&mut self, picture: PathBuf) {
        let path = picture.to_string_lossy().into_owned();
        let file = path.split_once('/').and_then(|(root, below)| self.inbox.transport.file(root, below));
        match file {
            Some(file) => self.inbox.take(vec![file]),
            None => self
                .inbox
                .say(Arrival::Failed(format!("{path}: this page has not been given the folder since it was opened; choose it again"))),
        }
    }

    fn take(&mut self, files: Vec<DroppedFileHandle>) {
        self.inbox.take(files.iter().filter_map(|file| file.web_file().cloned()).collect());
    }

    fn save(&mut self, name: &str, bytes: Vec<u8>) {
        self.inbox.say(match download(name, &bytes) {
            Ok(()) => Arrival::Saved(name.to_owned()),
            Err(error) => Arrival::Failed(format!("{name}: {error:?}")),
        });
    }

    fn has_camera(&self) -> bool {
        Camera::is_possible()
    }

    fn set_camera(&mut self, is_on: bool) {
        self.camera = None;
        if is_on {
            let inbox = self.inbox.clone();
            self.camera = Camera::start(move |reason| inbox.say(Arrival::NoCamera(reason)));
        }
    }

    fn camera_frame(&mut self) -> Option<Frame> {
        self.camera.as_ref()?.frame()
    }

    fn arrivals(&mut self) -> Vec<Arrival> {
        self.inbox.arrivals.take()
    }

    fn fragment(&self) -> String {
        window().and_then(|window| window.location().hash().ok()).unwrap_or_default()
    }

    fn link(&mut self, fragment: &str) -> String {
        let Some(window) = window() else { return String::new() };
        let address = window.location().href().unwrap_or_default();
        let link = format!("{}#{fragment}", address.split('#').next().unwrap_or_default());
        if let Ok(history) = window.history() {
            // A page in a sandbox may not change its address; the link is right all the same.
            let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&link));
        }
        link
    }

    fn languages(&self) -> Vec<String> {
        let languages = window().map(|window| window.navigator().languages()).unwrap_or_default();
        languages.iter().filter_map(|language| language.as_string()).collect()
    }

    fn is_page(&self) -> bool {
        true
    }

    fn keep_stored(&mut self) {
        // Whether the browser agrees is its own business: without, it may clear this site's storage when the disk is full.
        let _ = window().map(|window| window.navigator().storage().persist());
    }
}

impl Inbox {
    fn say(&self, arrival: Arrival) {
        self.arrivals.borrow_mut().push(arrival);
        self.context.request_repaint();
    }

    /// A folder is a checkpoint, or has pictures among its files.
    fn take_folder(&self, files: Files) {
        // What lies deeper is somebody's collection of models, if anything.
        let is_at_top = |path: &str| path.trim_start_matches('/').matches('/').count() <= 1;
        let is_model = is_checkpoint(files.iter().filter(|(path, _)| is_at_top(path)).map(|(_, file)| file));
        if self.indexes.get() && !is_model {
            return self.index(files);
        }
        let mut files: Vec<File> = files.into_iter().map(|(_, file)| file).collect();
        files.retain(|file| is_model || file.type_().starts_with("image/"));
        if files.is_empty() {
            self.say(Arrival::Failed("there is neither a picture nor a model in that folder".to_owned()));
        }
        self.take(files);
    }

    /// Hands folders over to be indexed: the first part of each path is a folder's name.
    fn index(&self, files: Files) {
        if files.is_empty() {
            return self.say(Arrival::Failed("there are no files in that folder".to_owned()));
        }
        let (mut folders, mut loose): (BTreeMap<String, Files>, Vec<File>) = Default::default();
        for (path, file) in files {
            match path.trim_start_matches('/').split_once('/') {
                Some((root, below)) => folders.entry(root.to_owned()).or_default().push((below.to_owned(), file)),
                None => loose.push(file),
            }
        }
        self.take(loose);
        for (root, files) in folders {
            self.transport.files(&root, files);
            self.say(Arrival::Folder(root));
        }
    }

    /// A checkpoint goes to the worker as handles; pictures are read.
    fn take(&self, files: Vec<File>) {
        if is_checkpoint(&files) {
            self.models.set(self.models.get() + 1);
            let name = format!("files {}", self.models.get());
            self.transport.files(&name, files.into_iter().map(|file| (file.name(), file)).collect());
            return self.say(Arrival::Model(name));
        }
        let inbox = self.clone();
        spawn_local(async move {
            // One after the other: they arrive in order, and only one is in memory twice.
            for file in files {
                inbox.say(read(&file).await);
            }
        });
    }
}

fn choose_folder(input: &HtmlInputElement) {
    let _ = input.set_attribute("webkitdirectory", "");
}

fn is_checkpoint<'a>(files: impl IntoIterator<Item = &'a File>) -> bool {
    files.into_iter().any(|file| is_model_file(Path::new(&file.name())))
}

async fn read(file: &File) -> Arrival {
    let name = file.name();
    let limit = Limits::current().encoded_image_bytes;
    if file.size() > limit as f64 {
        return Arrival::Failed(format!("{name}: the file has {} bytes, more than the {limit} of a picture", file.size()));
    }
    match wasm_bindgen_futures::JsFuture::from(js_sys::Promise::from(JsValue::from(file.array_buffer()))).await {
        Ok(buffer) => Arrival::Picture { name, bytes: Uint8Array::new(&buffer).to_vec() },
        Err(error) => Arrival::Failed(format!("{name}: the browser cannot read it ({error:?})")),
    }
}

/// Pictures on the clipboard arrive as files; egui hears of text only.
fn listen_for_pictures(inbox: &Inbox) -> Option<Closure<dyn FnMut(ClipboardEvent)>> {
    let inbox = inbox.clone();
    let listener = Closure::<dyn FnMut(ClipboardEvent)>::new(move |event: ClipboardEvent| {
        let Some(list) = event.clipboard_data().and_then(|data| data.files()) else { return };
        let files: Vec<File> = (0..list.length()).filter_map(|index| list.get(index)).collect();
        if !files.is_empty() {
            inbox.take(files);
        }
    });
    let document = window()?.document()?;
    document.add_event_listener_with_callback("paste", listener.as_ref().unchecked_ref()).ok()?;
    Some(listener)
}

pub(crate) fn element<E: JsCast>(tag: &str) -> Option<E> {
    window()?.document()?.create_element(tag).ok()?.dyn_into().ok()
}

/// Hands a file to the browser's downloads.
fn download(name: &str, bytes: &[u8]) -> Result<(), JsValue> {
    let parts = Array::of1(&Uint8Array::from(bytes));
    let url = Url::create_object_url_with_blob(&Blob::new_with_u8_array_sequence(&parts)?)?;
    let anchor: HtmlAnchorElement = element("a").ok_or("there is no document")?;
    anchor.set_href(&url);
    anchor.set_download(name);
    anchor.click();
    Url::revoke_object_url(&url)
}
