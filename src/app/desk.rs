//! What all panels share: the engine, the model that is open, the pictures, the language.

use eframe::egui::Context;

use super::assets::Assets;
use super::host::Host;
use super::opening::Opening;
use super::pictures::Pictures;
use super::strings::{Language, Text};
use crate::engine::{Client, Failure, FailureKind, Job, ModelInfo, ModelSource, News, OpenModel, Progress, Reply, Table, Transport};

/// A connection to whatever kind of engine there is.
pub(super) type Engine = Client<Box<dyn Transport>>;

pub(super) struct Desk {
    /// What of the interface is shown while it starts.
    pub(super) opening: Opening,
    pub(super) engine: Engine,
    pub(super) host: Box<dyn Host>,
    pub(super) assets: Assets,
    pub(super) language: Language,
    pub(super) model: Model,
    pub(super) pictures: Pictures,
    pub(super) is_camera_on: bool,
    /// Whether somebody has asked for the choice of models.
    pub(super) wants_picker: bool,
    /// An address that is being typed.
    pub(super) address: String,
    /// What people should read once: saved files, failures without a place of their own.
    pub(super) notices: Vec<Notice>,
}

/// The model, and how far it is.
#[derive(Default)]
pub(super) struct Model {
    /// Goes up with every model that opens: answers of the one before are out of date.
    pub(super) epoch: u32,
    pub(super) info: Option<ModelInfo>,
    opening: Option<u64>,
    pub(super) progress: Option<Progress>,
    pub(super) failure: Option<Failure>,
    /// The job that brings the token table of the open model.
    fetching: Option<u64>,
    /// Whether somebody wants no more of it.
    is_stopped: bool,
    /// How much of the token table is here.
    pub(super) table: Option<Progress>,
}

/// A line at the foot of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_failure: bool,
}

impl Desk {
    pub(super) fn new(transport: Box<dyn Transport>, host: Box<dyn Host>, assets: Assets) -> Self {
        let language = Language::best(&host.languages());
        let engine = Client::new(transport);
        Self {
            opening: Opening::new(),
            engine,
            host,
            assets,
            language,
            model: Model::default(),
            pictures: Pictures::default(),
            is_camera_on: false,
            wants_picker: false,
            address: String::new(),
            notices: Vec::new(),
        }
    }

    /// A string in the person's language.
    pub(super) fn text(&self, text: Text) -> &'static str {
        text.get(self.language)
    }

    /// A string with its places `{}` filled in order.
    pub(super) fn fill(&self, text: Text, values: &[&str]) -> String {
        let mut parts = self.text(text).split("{}");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for (part, value) in parts.zip(values) {
            filled.push_str(value);
            filled.push_str(part);
        }
        filled
    }

    /// A thousand captions in the person's language.
    pub(super) fn captions(&self) -> &'static str {
        let [english, japanese] = self.assets.captions;
        match self.language {
            Language::English => english,
            Language::Japanese => japanese,
        }
    }

    pub(super) fn open(&mut self, source: ModelSource) {
        if source != ModelSource::Demo {
            self.host.keep_stored();
        }
        self.open_any(source);
    }

    /// Opens a model that people have as files: there is nothing to keep.
    pub(super) fn open_local(&mut self, name: String) {
        self.open_any(ModelSource::Named(name));
    }

    fn open_any(&mut self, source: ModelSource) {
        if let Some(before) = self.model.opening {
            self.engine.cancel(before);
        }
        // The model before is gone as soon as the engine begins.
        self.model.info = None;
        self.model.failure = None;
        self.model.progress = None;
        self.stop_fetching();
        self.model.fetching = None;
        self.model.table = None;
        let request = OpenModel { source, device: "auto".to_owned(), precision: "auto".to_owned() };
        self.model.opening = Some(self.engine.send(Job::Open(request), Vec::new()));
    }

    pub(super) fn stop_opening(&mut self) {
        if let Some(id) = self.model.opening {
            self.engine.cancel(id);
        }
    }

    /// Whether a model is being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.model.opening.is_some()
    }

    /// Brings the token table, while pictures can be looked at already.
    pub(super) fn fetch_table(&mut self) {
        self.model.is_stopped = false;
        self.model.fetching = Some(self.engine.send(Job::FetchTable, Vec::new()));
    }

    pub(super) fn stop_fetching(&mut self) {
        self.model.is_stopped = true;
        if let Some(id) = self.model.fetching {
            self.engine.cancel(id);
        }
    }

    /// Whether the token table is being brought.
    pub(super) fn is_fetching(&self) -> bool {
        self.model.fetching.is_some() && !self.model.is_stopped
    }

    fn hear_of_table(&mut self, news: &News) {
        match news {
            News::Progress(progress) => self.model.table = Some(*progress),
            // It has given way to other jobs.
            News::Failed(failure) if failure.kind == FailureKind::Cancelled && !self.model.is_stopped => self.fetch_table(),
            News::Failed(failure) => {
                self.model.fetching = None;
                match failure.kind {
                    FailureKind::Cancelled => {}
                    FailureKind::Damaged => {
                        self.model.info = None;
                        self.model.failure = Some(failure.clone());
                    }
                    _ => self.complain(&failure.message),
                }
            }
            _ => {
                self.model.fetching = None;
                if let Some(info) = &mut self.model.info {
                    info.table = Table::Here;
                }
                // Questions about words are asked again.
                self.model.epoch += 1;
            }
        }
    }

    /// Takes replies about the model and the pictures.
    pub(super) fn hear(&mut self, context: &Context, reply: &Reply) {
        if let News::Failed(failure) = &reply.news
            && reply.id == 0
        {
            // Nobody's: the page and its worker are of different builds.
            self.complain(&failure.message);
        }
        if self.model.opening == Some(reply.id) {
            self.model.hear(reply);
            if self.model.info.as_ref().is_some_and(|info| info.table == Table::Coming) {
                self.fetch_table();
            }
        } else if self.model.fetching == Some(reply.id) {
            self.hear_of_table(&reply.news);
        }
        if let Some(failure) = self.pictures.hear(context, reply) {
            self.complain(failure);
        }
    }

    pub(super) fn switch_camera(&mut self, is_on: bool) {
        self.is_camera_on = is_on;
        self.host.set_camera(is_on);
        if !is_on {
            self.pictures.end_camera();
        }
    }

    /// Whether anything is under way, other than what gives way.
    pub(super) fn is_busy(&self) -> bool {
        self.engine.busy() > 0
    }

    /// Shows a failure that has no place of its own.
    pub(super) fn complain(&mut self, text: impl Into<String>) {
        self.notice(Notice { text: text.into(), is_failure: true });
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.notice(Notice { text: text.into(), is_failure: false });
    }

    /// What is there already is not said twice.
    fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }
}

impl Model {
    fn hear(&mut self, reply: &Reply) {
        match &reply.news {
            News::Progress(progress) => self.progress = Some(*progress),
            News::Opened(info) => {
                self.info = Some(info.as_ref().clone());
                self.epoch += 1;
            }
            News::Failed(failure) => self.failure = Some(failure.clone()),
            _ => {}
        }
        if reply.news.is_last() {
            self.opening = None;
            self.progress = None;
        }
    }

    /// Whether it is the small one inside, which knows emoji only.
    pub(super) fn is_demo(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.source == ModelSource::Demo)
    }
}
