//! The worker's end: does the jobs that `worker.js` hands over, one at a time, and says what came of them.

use js_sys::Array;
use polyglance::engine::worker::{from_js, to_js};
use polyglance::engine::{Answer, Failure, FailureKind, News, PROTOCOL, Reply, Report, Request, Service};
use polyglance::platform::{Stopwatch, yield_now};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::files::Files;

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    /// What `worker.js` does for the engine.
    pub type Host;

    /// Posts a message to the page; what is in `transfer` moves.
    #[wasm_bindgen(method)]
    fn say(this: &Host, message: &JsValue, transfer: &Array);

    /// Whether the page wants no more of the job at work.
    #[wasm_bindgen(method, js_name = isCancelled)]
    pub(crate) fn is_cancelled(this: &Host) -> bool;

    /// Whether the page waits for another job.
    #[wasm_bindgen(method, js_name = hasMore)]
    fn has_more(this: &Host) -> bool;

    /// The files that the page has handed over under a name, each as `[path, file]`.
    #[wasm_bindgen(method)]
    pub(crate) fn files(this: &Host, name: &str) -> Option<Array>;

    /// Takes a Web Lock in the mode "shared" or "exclusive" if that is possible now. Gives a function that returns it, or null.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn lock(this: &Host, name: &str, mode: &str) -> Result<JsValue, JsValue>;
}

/// A download that others wait for goes on for this long at least: longer than the hub takes to answer.
const TURN_SECS: f64 = 0.5;

/// An engine of one generation.
#[wasm_bindgen]
pub struct Engine {
    generation: u32,
    host: Host,
    service: Service<Files>,
}

#[wasm_bindgen]
impl Engine {
    /// Greets the page.
    #[wasm_bindgen(constructor)]
    pub fn new(generation: u32, host: Host) -> Self {
        say(&host, 0, generation, News::Greeting { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }.into());
        let service = Service::new(Files::new(host.clone()));
        Self { generation, host, service }
    }

    /// Does what a message asks for. It is borrowed until the promise settles: a caller awaits one before the next.
    pub async fn run(&mut self, message: JsValue) {
        // Whatever stands behind this message may be its cancellation.
        yield_now().await;
        let Self { generation, host, service } = self;
        let (id, done) = match from_js::<Request>(&message) {
            Ok((Request { id, job, .. }, bulk)) => {
                // What may take minutes gives way, after long enough to get on.
                let watch = job.gives_way().then(Stopwatch::start);
                let gives_way = || watch.as_ref().is_some_and(|watch| watch.elapsed_secs() > TURN_SECS) && host.has_more();
                let is_cancelled = || host.is_cancelled() || gives_way();
                let mut progress = |progress| say(host, id, *generation, News::Progress(progress).into());
                let mut report = Report::new(&mut progress, &is_cancelled);
                let done = if is_cancelled() { Err(stopped()) } else { service.run(job, bulk, &mut report).await };
                // Nobody wants what gave way: another tab may.
                if watch.is_some() && host.is_cancelled() {
                    service.stop();
                }
                // Whatever it failed with when it was stopped.
                (id, done.map_err(|failure| if host.is_cancelled() { stopped() } else { failure }))
            }
            Err(reason) => (id_of(&message), Err(Failure::new(FailureKind::Input, format!("the engine cannot do this: {reason}")))),
        };
        say(host, id, *generation, done.unwrap_or_else(|failure| News::Failed(failure).into()));
    }
}

pub(crate) fn stopped() -> Failure {
    Failure::new(FailureKind::Cancelled, "stopped")
}

fn say(host: &Host, id: u64, generation: u32, Answer { news, bulk }: Answer) {
    let reply = Reply { id, generation, news, bulk: Vec::new() };
    // The engine's own replies have a form in JSON.
    if let Ok((message, transfer)) = to_js(&reply, &bulk) {
        host.say(&message, &transfer);
    }
}

/// The id of a message that is no request, as far as it has one.
fn id_of(message: &JsValue) -> u64 {
    js_sys::Reflect::get(message, &"id".into()).ok().and_then(|id| id.as_f64()).map_or(0, |id| id as u64)
}
