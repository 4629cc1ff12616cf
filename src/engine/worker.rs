//! The page's end: carries an app's messages to the engine in a Web Worker and back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::File;

mod message;

pub use message::{from_js, to_js};

use super::client::{Incoming, Transport};
use super::protocol::{Reply, Request};

#[wasm_bindgen(raw_module = "./link.js")]
extern "C" {
    /// A worker, and all ways to learn of its death.
    type Link;

    #[wasm_bindgen(catch)]
    fn connect(generation: u32, message: &Closure<dyn FnMut(JsValue)>, death: &Closure<dyn FnMut(String)>) -> Result<Link, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn post(this: &Link, message: &JsValue, transfer: &Array) -> Result<(), JsValue>;

    #[wasm_bindgen(method)]
    fn close(this: &Link);
}

/// Carries messages to a Web Worker and back. Clones are handles of the same transport: one for the client, one to register files.
#[derive(Clone)]
pub struct WorkerTransport(Rc<Shared>);

struct Shared {
    /// Called when something has come in.
    wake: Box<dyn Fn()>,
    incoming: RefCell<Vec<Incoming>>,
    worker: RefCell<Option<Started>>,
    /// For every worker to come, too.
    files: RefCell<BTreeMap<String, Files>>,
}

/// Files by their paths.
type Files = Vec<(String, File)>;

/// The worker of one generation and those who listen to it.
struct Started {
    link: Link,
    _message: Closure<dyn FnMut(JsValue)>,
    _death: Closure<dyn FnMut(String)>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl WorkerTransport {
    /// How paths of files begin that are in no folder, and the name that these have in common.
    pub const DROPPED: &str = "/dropped/";

    /// A transport that calls `wake` when there is something to receive, so that an idle page need not look.
    pub fn new(wake: impl Fn() + 'static) -> Self {
        let (incoming, worker, files) = Default::default();
        Self(Rc::new(Shared { wake: Box::new(wake), incoming, worker, files }))
    }

    /// Hands over files that somebody chose or dropped, by their paths, in place of others under the same name;
    /// [`ModelSource::Named`](super::ModelSource) with this name opens them as a model, [`Job::Index`](super::Job::Index) as a folder of pictures. Handles
    /// only: nothing is read or copied.
    pub fn files(&self, name: &str, files: Files) {
        if let Some(worker) = &*self.0.worker.borrow() {
            post_files(&worker.link, name, &files);
        }
        self.0.files.borrow_mut().insert(name.to_owned(), files);
    }

    /// A file that was handed over.
    pub fn file(&self, name: &str, path: &str) -> Option<File> {
        let files = self.0.files.borrow();
        files.get(name)?.iter().find(|(own, _)| own == path).map(|(_, file)| file.clone())
    }

    fn connect(&self, generation: u32) -> Result<Started, JsValue> {
        // The listeners belong to the transport, so they may not keep it alive.
        let shared = Rc::downgrade(&self.0);
        let push = move |incoming| {
            if let Some(shared) = shared.upgrade() {
                shared.incoming.borrow_mut().push(incoming);
                (shared.wake)();
            }
        };
        let push_death = push.clone();
        let message = Closure::new(move |object: JsValue| {
            push(match from_js::<Reply>(&object) {
                Ok((reply, bulk)) => Incoming::Reply(Reply { bulk, ..reply }),
                Err(error) => Incoming::Died { generation, reason: format!("it said what this page does not understand: {error}") },
            });
        });
        let death = Closure::new(move |reason| push_death(Incoming::Died { generation, reason }));
        let link = connect(generation, &message, &death)?;
        Ok(Started { link, _message: message, _death: death })
    }
}

impl Transport for WorkerTransport {
    fn start(&mut self, generation: u32) {
        // The old worker ends before the new one starts: two models may not fit.
        self.0.worker.replace(None);
        match self.connect(generation) {
            Ok(worker) => {
                for (name, files) in &*self.0.files.borrow() {
                    post_files(&worker.link, name, files);
                }
                self.0.worker.replace(Some(worker));
            }
            Err(error) => {
                let reason = format!("its worker could not be started: {error:?}");
                self.0.incoming.borrow_mut().push(Incoming::Died { generation, reason });
                (self.0.wake)();
            }
        }
    }

    fn send(&mut self, request: Request) {
        // A worker that is gone has said so, and the client repeats what it did not answer.
        if let (Some(worker), Ok((message, transfer))) = (&*self.0.worker.borrow(), to_js(&request, &request.bulk)) {
            let _ = worker.link.post(&message, &transfer);
        }
    }

    fn receive(&mut self) -> Vec<Incoming> {
        self.0.incoming.take()
    }
}

/// `{kind: "files", body: {name, paths}, files}`, which is between page and worker alone.
fn post_files(link: &Link, name: &str, files: &Files) {
    let (message, body) = (Object::new(), Object::new());
    let handles: Array = files.iter().map(|(_, file)| file).collect();
    let paths: Array = files.iter().map(|(path, _)| JsValue::from(path)).collect();
    let members = [
        (&body, "name", JsValue::from(name)),
        (&body, "paths", paths.into()),
        (&message, "kind", "files".into()),
        (&message, "body", body.clone().into()),
        (&message, "files", handles.into()),
    ];
    for (object, key, value) in members {
        // Plain objects take any member.
        let _ = Reflect::set(object, &key.into(), &value);
    }
    let _ = link.post(&message, &Array::new());
}
