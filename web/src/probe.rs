//! For the browser tests: the client over the worker's transport, driven from JavaScript, and a way to crash.

use js_sys::{Array, Function};
use polyglance::engine::worker::{WorkerTransport, to_js};
use polyglance::engine::{Client, Job};
use polyglance::platform::for_each_chunk;
use wasm_bindgen::{JsCast, JsError, JsValue, prelude::wasm_bindgen};

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
        self.transport.files(name, files.iter().filter_map(|file| file.dyn_into().ok()).collect());
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

/// Panics.
#[wasm_bindgen]
#[expect(clippy::panic, reason = "a test wants to see what comes of it")]
pub fn crash(message: &str) {
    panic!("{message}");
}

/// Panics in a thread that the caller waits for.
#[wasm_bindgen(js_name = crashThread)]
#[expect(clippy::panic, reason = "a test wants to see what comes of it")]
pub fn crash_thread(message: &str) {
    for_each_chunk(&mut [0_u8; 64], 1, |_, _| panic!("{message}"));
}
