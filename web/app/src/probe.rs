//! For the browser tests: the client over the worker's transport, driven from JavaScript.

use js_sys::{Array, Function};
use polyglance::engine::worker::{WorkerTransport, to_js};
use polyglance::engine::{Client, Job};
use wasm_bindgen::{JsCast, JsError, JsValue, prelude::wasm_bindgen};
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

    /// Sends a job off, given as JSON of `{kind, body}`.
    ///
    /// # Errors
    /// No job.
    pub fn send(&mut self, job: &str, bulk: Vec<u8>) -> Result<f64, JsError> {
        Ok(self.client.send(serde_json::from_str::<Job>(job)?, bulk) as f64)
    }

    /// What has come in.
    pub fn receive(&mut self) -> Array {
        self.client.receive().iter().filter_map(|reply| Some(to_js(reply, &reply.bulk).ok()?.0)).collect()
    }
}
