//! The interface, the same in a window and on a page.
//!
//! ```text
//! App ── panels (stage, classify, features, retrieve) ── Wanted ── Desk ── engine::Client
//!                                                          └── Host: files, links, languages
//! ```
//!
//! Panels are drawn anew for every frame and say each time what they want (`wanted.rs`) to know; nothing here waits, and nothing here knows how
//! an answer is computed.

mod answers;
mod assets;
mod bars;
mod bidi;
mod canvas;
mod classify;
mod csv;
mod desk;
mod features;
mod host;
mod labels;
mod layout;
mod link;
mod models;
mod opening;
mod pictures;
#[cfg(feature = "index")]
mod retrieve;
#[cfg(not(feature = "index"))]
#[path = "retrieve/absent.rs"]
mod retrieve;
mod shelf;
mod stage;
mod strings;
mod theme;
mod wanted;

use eframe::egui::{Button, Context, Event, Key, Modifiers, Panel, ProgressBar, RichText, Theme, Ui, vec2};

pub use self::assets::{Assets, SAMPLES};
use self::classify::Classification;
use self::desk::Desk;
use self::features::FeatureViews;
pub use self::host::{Arrival, Frame, Host, is_model_file};
use self::models::ModelPicker;
use self::retrieve::Retrieval;
use self::stage::Stage;
use self::strings::Text;
use crate::engine::{ModelSource, Progress, Stage as Step, Table, Transport};

/// The whole interface.
pub struct App {
    desk: Desk,
    workspace: Workspace,
    stage: Stage,
    classification: Classification,
    features: FeatureViews,
    retrieval: Retrieval,
    models: ModelPicker,
}

/// What people are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workspace {
    Stage,
    Classify,
    Features,
    Retrieve,
}

const WORKSPACES: [(Workspace, Text, Text, Key); 4] = [
    (Workspace::Stage, Text::Stage, Text::StageHint, Key::Num1),
    (Workspace::Classify, Text::Classify, Text::ClassifyHint, Key::Num2),
    (Workspace::Features, Text::Features, Text::FeaturesHint, Key::Num3),
    (Workspace::Retrieve, Text::Retrieve, Text::RetrieveHint, Key::Num4),
];

impl App {
    /// Starts the engine and opens the model inside.
    pub fn new(context: &Context, transport: Box<dyn Transport>, host: Box<dyn Host>, assets: Assets) -> Self {
        theme::install(context, &assets);
        let fragment = host.fragment();
        let mut desk = Desk::new(transport, host, assets);
        desk.open(ModelSource::Demo);
        let stage = Stage::new(&desk.assets, &fragment, desk.language.code());
        let classification = Classification::new(desk.language);
        Self {
            desk,
            workspace: Workspace::Stage,
            stage,
            classification,
            features: FeatureViews::default(),
            retrieval: Retrieval::default(),
            models: ModelPicker::default(),
        }
    }

    /// Takes what has come in.
    fn receive(&mut self, context: &Context) {
        for reply in self.desk.engine.receive() {
            self.desk.hear(context, &reply);
            self.models.hear(&mut self.desk, &reply);
            self.stage.hear(context, &reply);
            self.classification.hear(&reply);
            self.features.hear(&reply);
            self.retrieval.hear(context, &mut self.desk, &reply);
        }
        for arrival in self.desk.host.arrivals() {
            match arrival {
                Arrival::Picture { name, bytes } => {
                    self.desk.pictures.add(&mut self.desk.engine, name, bytes);
                    self.show_pictures();
                }
                Arrival::Folder(root) => {
                    self.workspace = Workspace::Retrieve;
                    self.retrieval.index(root);
                }
                Arrival::Model(name) => self.desk.open_local(name),
                Arrival::Saved(name) => self.desk.say(format!("{}: {name}", self.desk.text(Text::Saved))),
                Arrival::NoCamera(reason) => {
                    self.desk.switch_camera(false);
                    self.desk.complain(format!("{}: {reason}", self.desk.text(Text::NoCamera)));
                }
                Arrival::Failed(text) => self.desk.complain(text),
            }
        }
    }

    /// The next frame, once everything about the last one is known.
    fn look_through_camera(&mut self, context: &Context) {
        if !self.desk.is_camera_on {
            return;
        }
        context.request_repaint();
        if !self.desk.is_busy()
            && let Some(frame) = self.desk.host.camera_frame()
        {
            self.desk.pictures.show_frame(context, &mut self.desk.engine, frame);
        }
    }

    /// Pictures have their place in two of the workspaces.
    fn show_pictures(&mut self) {
        if matches!(self.workspace, Workspace::Stage | Workspace::Retrieve) {
            self.workspace = Workspace::Classify;
        }
    }

    fn take_dropped(&mut self, context: &Context) {
        let dropped = context.input(|input| input.raw.dropped_files.clone());
        if dropped.is_empty() {
            return;
        }
        let is_model = dropped.iter().any(|file| self.desk.host.is_model(file.path()));
        if self.workspace == Workspace::Retrieve && !is_model {
            let names = self.desk.host.name_dropped(dropped);
            self.retrieval.take_files(&self.desk, names);
        } else {
            self.desk.host.take(dropped);
        }
    }

    /// Pictures on the clipboard of a window; a page hears of them by itself.
    fn take_pasted(&mut self, context: &Context) {
        let is_writing = context.text_edit_focused();
        for event in context.input(|input| input.events.clone()) {
            match event {
                Event::PasteImage(image) => {
                    self.desk.pictures.add_pixels(&mut self.desk.engine, "pasted", &image);
                    self.show_pictures();
                }
                Event::Paste(text) if !is_writing && self.workspace == Workspace::Retrieve => {
                    self.retrieval.take(&self.desk, text.lines());
                }
                Event::Paste(text) if !is_writing => self.desk.host.take_text(&text),
                _ => {}
            }
        }
    }

    /// Those that there are here.
    fn workspaces(&self) -> impl Iterator<Item = (Workspace, Text, Text, Key)> + use<> {
        let has_folders = self.desk.host.has_folders();
        WORKSPACES.into_iter().filter(move |(workspace, ..)| has_folders || *workspace != Workspace::Retrieve)
    }

    fn shortcuts(&mut self, context: &Context) {
        for (workspace, _, _, key) in self.workspaces() {
            if context.input_mut(|input| input.consume_key(Modifiers::ALT, key)) {
                self.workspace = workspace;
            }
        }
        for (key, by) in [(Key::PageUp, -1), (Key::PageDown, 1)] {
            if context.input_mut(|input| input.consume_key(Modifiers::ALT, key)) {
                self.desk.pictures.step(by);
            }
        }
        if context.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::O)) {
            self.desk.host.pick_pictures();
        }
    }

    /// Draws everything.
    pub fn show(&mut self, ui: &mut Ui) {
        let context = ui.ctx().clone();
        self.receive(&context);
        self.look_through_camera(&context);
        self.desk.host.index_dropped(self.workspace == Workspace::Retrieve);
        self.take_dropped(&context);
        self.take_pasted(&context);
        self.shortcuts(&context);
        self.retrieval.go_on(&mut self.desk);
        self.desk.opening.begin();
        Panel::top("top").show(ui, |ui| self.top(ui));
        Panel::bottom("status").show(ui, |ui| self.status(ui));
        if std::mem::take(&mut self.desk.wants_picker) {
            self.models.open();
        }
        self.models.ui(&context, &mut self.desk);
        match self.workspace {
            Workspace::Stage => self.stage.ui(ui, &mut self.desk),
            Workspace::Classify => self.classification.ui(ui, &mut self.desk),
            Workspace::Features => self.features.ui(ui, &mut self.desk),
            Workspace::Retrieve => self.workspace = self.retrieval.ui(ui, &mut self.desk).unwrap_or(self.workspace),
        }
        if self.desk.opening.end() {
            context.request_repaint();
        }
        if self.desk.is_busy() || self.desk.is_fetching() {
            // On a page nothing else may wake it while the worker computes.
            context.request_repaint_after(std::time::Duration::from_millis(100));
        }
    }

    fn top(&mut self, ui: &mut Ui) {
        ui.add_space(4.0);
        ui.horizontal_wrapped(|ui| {
            if self.desk.opening.has_turn() {
                ui.label(RichText::new("Polyglance").font(theme::strong(17.0)));
                ui.add_space(8.0);
            }
            for (workspace, name, hint, key) in self.workspaces() {
                if !self.desk.opening.has_turn() {
                    return;
                }
                let hint = format!("{} (Alt+{})", self.desk.text(hint), key.symbol_or_name());
                let text = RichText::new(self.desk.text(name)).size(15.0);
                if ui.selectable_label(self.workspace == workspace, text).on_hover_text(hint).clicked() {
                    self.workspace = workspace;
                }
            }
            if !self.desk.opening.has_turn() {
                return;
            }
            ui.add_space(8.0);
            let model = models::name(&self.desk);
            if ui.button(format!("{}: {model}", self.desk.text(Text::Model))).on_hover_text(self.desk.text(Text::ModelHint)).clicked() {
                self.models.open();
            }
            if self.desk.opening.has_turn() {
                self.preferences(ui);
            }
        });
        ui.add_space(2.0);
    }

    fn preferences(&mut self, ui: &mut Ui) {
        if ui.button(self.desk.text(Text::OtherLanguage)).clicked() {
            self.desk.language = self.desk.language.other();
        }
        let other = if ui.visuals().dark_mode { (Text::LightTheme, Theme::Light) } else { (Text::DarkTheme, Theme::Dark) };
        if ui.button(self.desk.text(other.0)).on_hover_text(self.desk.text(Text::ThemeHint)).clicked() {
            ui.ctx().set_theme(other.1);
        }
    }

    /// The foot: what is being done, where it runs, what people should know.
    fn status(&mut self, ui: &mut Ui) {
        ui.add_space(2.0);
        let mut closed = None;
        for (index, notice) in self.desk.notices.iter().enumerate() {
            ui.horizontal_wrapped(|ui| {
                let colour = if notice.is_failure { ui.visuals().error_fg_color } else { ui.visuals().text_color() };
                ui.colored_label(colour, &notice.text);
                if ui.small_button(self.desk.text(Text::Close)).clicked() {
                    closed = Some(index);
                }
            });
        }
        if let Some(index) = closed {
            self.desk.notices.remove(index);
        }
        if self.desk.opening.has_turn() {
            ui.horizontal_wrapped(|ui| self.device_line(ui));
        }
        ui.add_space(2.0);
    }

    fn device_line(&mut self, ui: &mut Ui) {
        let desk = &mut self.desk;
        if let Some(failure) = desk.model.failure.clone() {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
            if ui.button(desk.text(Text::DemoModel)).clicked() {
                desk.open(ModelSource::Demo);
            }
        } else if desk.is_opening() {
            ui.add(ProgressBar::new(desk.model.progress.map_or(0.0, fraction)).desired_width(160.0).desired_height(8.0));
            ui.label(opening_text(desk));
            if ui.add(Button::new(desk.text(Text::Cancel)).min_size(vec2(0.0, 0.0))).clicked() {
                desk.stop_opening();
            }
        } else if let Some(info) = &desk.model.info {
            let line = ui.label(RichText::new(&info.device).small()).on_hover_text(desk.text(Text::DeviceHint));
            if let Some(reason) = &info.device_reason {
                line.on_hover_text(reason);
                ui.label(RichText::new(reason).small().color(ui.visuals().warn_fg_color));
            }
            match info.table {
                Table::Here => drop(ui.label(RichText::new(format!("· {}", desk.text(Text::Offline))).small().weak())),
                Table::Coming => table_line(ui, desk),
                Table::Remote => {
                    let line = RichText::new(format!("· {}", desk.text(Text::LightLine))).small().color(ui.visuals().warn_fg_color);
                    ui.label(line).on_hover_text(desk.text(Text::LightHint));
                }
            }
        } else {
            ui.label(desk.text(Text::NoModel));
        }
    }
}

/// How far the download of the token table is.
fn table_line(ui: &mut Ui, desk: &mut Desk) {
    if let Some(progress) = desk.model.table {
        ui.add(ProgressBar::new(fraction(progress)).desired_width(120.0).desired_height(8.0));
    }
    let amount = desk.model.table.map(amount).unwrap_or_default();
    ui.label(RichText::new(format!("{}{amount}", desk.text(Text::TableComing))).small()).on_hover_text(desk.text(Text::TableComingHint));
    if desk.is_fetching() {
        if ui.button(desk.text(Text::Cancel)).clicked() {
            desk.stop_fetching();
        }
    } else if ui.button(desk.text(Text::TableFetch)).clicked() {
        desk.fetch_table();
    }
}

fn fraction(progress: Progress) -> f32 {
    progress.done as f32 / progress.total.max(1) as f32
}

fn opening_text(desk: &Desk) -> String {
    let Some(progress) = desk.model.progress else { return desk.text(Text::Loading).to_owned() };
    let step = match progress.stage {
        Step::Wait => Text::StageWait,
        Step::Download => Text::StageDownload,
        Step::Check => Text::StageCheck,
        Step::Load => Text::StageLoad,
        Step::VisionTower => Text::StageVision,
        Step::TextTower => Text::StageTextTower,
        Step::Texts => Text::StageTexts,
        Step::Pictures => Text::StagePictures,
        Step::Comparison => Text::StageComparison,
        Step::Image => Text::StageImage,
    };
    format!("{}: {}{}", desk.text(Text::Loading), desk.text(step), amount(progress))
}

/// Bytes of a download or a check, for people.
fn amount(Progress { stage, done, total }: Progress) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    match stage {
        Step::Download | Step::Check => format!(" ({:.0} / {:.0} MB)", megabytes(done), megabytes(total)),
        _ => String::new(),
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.show(ui);
    }
}
