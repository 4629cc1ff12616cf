//! The engine on a thread of this process.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "index")]
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::client::{Incoming, Transport};
use super::protocol::{Failure, FailureKind, Job, ModelSource, News, PROTOCOL, Reply, Request, Stored, Table};
use super::service::{Answer, Loader, Report, Service};
#[cfg(feature = "index")]
use crate::index::{Shelf, disk::DiskShelf};
use crate::platform::{Stopwatch, block_on, spawn};
use crate::weights::Checkpoint;

/// Carries messages to a thread of their own and back.
pub struct Thread<L = Files> {
    incoming: (Sender<Incoming>, Receiver<Incoming>),
    requests: Sender<Request>,
    cancelled: Cancelled,
    waiting: Arc<AtomicUsize>,
    wake: Wake,
    loader: Arc<dyn Fn() -> L + Send + Sync>,
}

/// Ids of jobs that are no longer wanted.
type Cancelled = Arc<Mutex<HashSet<u64>>>;
/// Called when something has come in, from the engine's thread.
type Wake = Arc<dyn Fn() + Send + Sync>;

impl Thread {
    /// A transport that calls `wake` when there is something to receive, so that an idle window need not look.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self::with_loader(wake, Files::default)
    }
}

impl<L> Thread<L> {
    /// The same with models from elsewhere: every engine gets a loader of its own.
    pub fn with_loader(wake: impl Fn() + Send + Sync + 'static, loader: impl Fn() -> L + Send + Sync + 'static) -> Self {
        // Whatever is sent before the first start is lost, and nothing is.
        let (requests, _) = channel();
        let (cancelled, waiting) = Default::default();
        Self { incoming: channel(), requests, cancelled, waiting, wake: Arc::new(wake), loader: Arc::new(loader) }
    }
}

impl<L: Loader + 'static> Transport for Thread<L> {
    fn start(&mut self, generation: u32) {
        let (sender, requests) = channel();
        // Dropping its sender ends the thread before, if it still lives, after the job it is at.
        self.requests = sender;
        (self.cancelled, self.waiting) = Default::default();
        let worker = Worker {
            generation,
            cancelled: Arc::clone(&self.cancelled),
            waiting: Arc::clone(&self.waiting),
            outgoing: self.incoming.0.clone(),
            wake: Arc::clone(&self.wake),
        };
        let loader = Arc::clone(&self.loader);
        if let Err(error) = spawn("engine", move || worker.run(&requests, loader())) {
            let reason = format!("its thread could not be started: {error}");
            // The receiver lives in this very struct.
            let _ = self.incoming.0.send(Incoming::Died { generation, reason });
        }
    }

    fn send(&mut self, request: Request) {
        if let Job::Cancel { job } = request.job {
            self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A thread that is gone has said so, and the client repeats what it did not answer.
        let _ = self.requests.send(request);
    }

    fn receive(&mut self) -> Vec<Incoming> {
        self.incoming.1.try_iter().collect()
    }
}

/// A job that gives way to others goes on for this long at least, so that it gets on whatever else is asked for.
const TURN_SECS: f64 = 0.1;

/// The other end of one generation.
struct Worker {
    generation: u32,
    cancelled: Cancelled,
    /// Requests that it has not begun.
    waiting: Arc<AtomicUsize>,
    outgoing: Sender<Incoming>,
    wake: Wake,
}

impl Worker {
    fn run<L: Loader>(&self, requests: &Receiver<Request>, loader: L) {
        self.say(0, News::Greeting { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }.into());
        let mut service = Service::new(loader);
        for Request { id, job, bulk, .. } in requests {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let (watch, can_wait) = (Stopwatch::start(), job.gives_way());
            let gives_way = || can_wait && watch.elapsed_secs() > TURN_SECS && self.waiting.load(Ordering::Relaxed) > 0;
            let is_unwanted = || self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).contains(&id);
            let is_cancelled = || is_unwanted() || gives_way();
            let mut say = |progress| self.say(id, News::Progress(progress).into());
            let done = catch_unwind(AssertUnwindSafe(|| {
                let mut report = Report::new(&mut say, &is_cancelled);
                if is_cancelled() {
                    return Err(Failure::new(FailureKind::Cancelled, "stopped"));
                }
                block_on(service.run(job, bulk, &mut report))
            }));
            if can_wait && is_unwanted() {
                service.stop();
            }
            match done {
                Ok(result) => self.say(id, result.unwrap_or_else(|failure| News::Failed(failure).into())),
                // The service may be half of something now.
                Err(panic) => return self.send(Incoming::Died { generation: self.generation, reason: message_of(panic.as_ref()) }),
            }
        }
    }

    fn say(&self, id: u64, Answer { news, bulk }: Answer) {
        self.send(Incoming::Reply(Reply { id, generation: self.generation, news, bulk }));
    }

    /// An app that is gone needs no news.
    fn send(&self, incoming: Incoming) {
        let _ = self.outgoing.send(incoming);
        (self.wake)();
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a bug").to_owned()
}

/// The model inside, and models from this machine's folders and, with the feature `hub`, from the hub.
#[derive(Default)]
pub struct Files {
    /// Where indexes are kept; the user's own place for them if this says nothing.
    #[cfg(feature = "index")]
    indexes: Option<PathBuf>,
}

#[cfg(feature = "index")]
impl Files {
    /// The same with indexes in a folder of one's own.
    pub fn with_indexes(folder: PathBuf) -> Self {
        Self { indexes: Some(folder) }
    }
}

impl Loader for Files {
    async fn open(&mut self, source: &ModelSource, report: &mut Report<'_>) -> Result<(Checkpoint, Table), Failure> {
        match source {
            ModelSource::Demo => Ok((demo().await?, Table::Here)),
            ModelSource::Named(name) => {
                let folder = folder(name, report)?;
                let checkpoint = Checkpoint::open(&folder).await.map_err(|error| Failure::new(FailureKind::Model, error))?;
                Ok((checkpoint, Table::Here))
            }
            ModelSource::Light(name) => {
                Err(Failure::new(FailureKind::Input, format!("only a page opens {name} without its token table; open it whole")))
            }
        }
    }

    #[cfg(feature = "index")]
    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        let folder = self.indexes.clone().or_else(|| Some(crate::platform::data_folder()?.join("indexes")));
        folder.map(|folder| Box::new(DiskShelf::new(folder)) as Box<dyn Shelf>)
    }

    /// The released checkpoints in the cache. It is the Python tools' as well: other models there are nobody's business, and deleting is theirs.
    async fn stored(&mut self) -> Result<Stored, Failure> {
        Ok(stored())
    }

    async fn delete(&mut self, name: &str) -> Result<(), Failure> {
        let advice = "lies in the cache that the Python tools share; delete it there, with `hf cache`";
        Err(Failure::new(FailureKind::Input, format!("{name} {advice}")))
    }
}

#[cfg(feature = "demo-model")]
async fn demo() -> Result<Checkpoint, Failure> {
    crate::demo::checkpoint().await.map_err(|error| Failure::new(FailureKind::Model, error))
}

#[cfg(not(feature = "demo-model"))]
async fn demo() -> Result<Checkpoint, Failure> {
    Err(Failure::new(FailureKind::Model, "this build has no model inside; open another one"))
}

#[cfg(feature = "hub")]
fn folder(name: &str, report: &mut Report<'_>) -> Result<std::path::PathBuf, Failure> {
    use std::ops::ControlFlow;

    use super::protocol::Stage;
    use crate::weights::hub::{Hub, HubOptions};

    let mut stopped = None;
    let resolved =
        Hub::new(HubOptions::from_env()).resolve(name, &mut |progress| match report.step(Stage::Download, progress.done, progress.total) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                stopped = Some(failure);
                ControlFlow::Break(())
            }
        });
    resolved.map_err(|error| stopped.unwrap_or_else(|| Failure::new(FailureKind::Model, error)))
}

#[cfg(feature = "hub")]
fn stored() -> Stored {
    use super::protocol::StoredModel;
    use crate::config::PRESETS;
    use crate::weights::hub::{Hub, HubId, HubOptions};

    let hub = Hub::new(HubOptions::from_env());
    let model = |name: &str| {
        let id: HubId = name.parse().ok()?;
        let bytes = hub.stored_bytes(&id)?;
        Some(StoredModel { name: name.to_owned(), revision: id.revision().to_owned(), bytes, complete: true, light: true })
    };
    let models: Vec<StoredModel> = PRESETS.iter().filter_map(|preset| model(preset.id)).collect();
    let usage = models.iter().map(|model| model.bytes).sum();
    Stored { models, usage, quota: None }
}

#[cfg(not(feature = "hub"))]
fn stored() -> Stored {
    Stored::default()
}

#[cfg(not(feature = "hub"))]
fn folder(name: &str, _report: &mut Report<'_>) -> Result<std::path::PathBuf, Failure> {
    Ok(name.into())
}
