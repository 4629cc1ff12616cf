//! For the browser tests: the client over the worker's transport, driven from JavaScript.

use js_sys::{Array, Function};
use polyglance::engine::worker::{WorkerTransport, to_js};
use polyglance::engine::{AddImage, Classify, Client, ImageForm, Job, ModelSource, OpenModel};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::File;

/// An app without a face.
#[wasm_bindgen]
pub struct Probe {
    client: Client<WorkerTransport>,
    transport: WorkerTransport,
}

#[wasm_bindgen]
impl Probe {
    /// Starts an engine; `wake` is called when something has come in.
    #[wasm_bindgen(constructor)]
    pub fn new(wake: Function) -> Self {
        let transport = WorkerTransport::new(move || {
            let _ = wake.call0(&JsValue::NULL);
        });
        Self { client: Client::new(transport.clone()), transport }
    }

    /// Hands over files.
    pub fn files(&self, name: &str, files: &Array) {
        let named = |file: JsValue| file.dyn_into().ok().map(|file: File| (file.name(), file));
        self.transport.files(name, files.iter().filter_map(named).collect());
    }

    /// Opens files that were handed over, on the CPU. As for all of these: gives the number that the answer will carry.
    pub fn open(&mut self, name: &str) -> f64 {
        let (device, precision) = ("cpu".to_owned(), "auto".to_owned());
        self.send(Job::Open(OpenModel { source: ModelSource::Named(name.to_owned()), device, precision }), Vec::new())
    }

    /// Adds picture 1, a file.
    #[wasm_bindgen(js_name = addImage)]
    pub fn add_image(&mut self, file: Vec<u8>) -> f64 {
        self.send(Job::AddImage(AddImage { image: 1, form: ImageForm::File, preview_side: 0 }), file)
    }

    /// Compares picture 1 with labels.
    pub fn classify(&mut self, max_num_patches: usize, labels: Vec<String>) -> f64 {
        let labels = labels.into_iter().map(|label| vec![label]).collect();
        self.send(Job::Classify(Classify { image: 1, max_num_patches: Some(max_num_patches), labels }), Vec::new())
    }

    /// Embeds texts.
    #[wasm_bindgen(js_name = embedTexts)]
    pub fn embed_texts(&mut self, texts: Vec<String>) -> f64 {
        self.send(Job::EmbedTexts { texts }, Vec::new())
    }

    /// What has come in.
    pub fn receive(&mut self) -> Array {
        self.client.receive().iter().filter_map(|reply| Some(to_js(reply, &reply.bulk).ok()?.0)).collect()
    }
}

impl Probe {
    fn send(&mut self, job: Job, bulk: Vec<u8>) -> f64 {
        self.client.send(job, bulk) as f64
    }
}
