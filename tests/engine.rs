//! The engine as an app sees it: on its thread, by messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use polyglance::engine::thread::{Files, Thread};
use polyglance::engine::{
    AddImage, Classify, Client, EmbedImage, Failure, FailureKind, ImageForm, Job, Loader, ModelSource, News, OpenModel, Reply, Report,
    Request, Stage, Stored, StoredModel, Table, ViewJob, ViewOf,
};
use polyglance::weights::Checkpoint;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{fixture, worst_row_error};

/// An app that has nothing else to do.
struct App<L> {
    client: Client<Thread<L>>,
    wakes: Receiver<()>,
    replies: Vec<Reply>,
}

/// Longer than any of these jobs takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

impl<L: Loader + 'static> App<L> {
    fn new(loader: impl Fn() -> L + Send + Sync + 'static) -> Self {
        let (wake, wakes) = channel();
        let wake = std::sync::Mutex::new(wake);
        let thread = Thread::with_loader(
            move || {
                let _ = wake.lock().unwrap().send(());
            },
            loader,
        );
        Self { client: Client::new(thread), wakes, replies: Vec::new() }
    }

    /// Waits for the answer to a job.
    fn answer(&mut self, id: u64) -> Reply {
        loop {
            if let Some(index) = self.replies.iter().position(|reply| reply.id == id && reply.news.is_last()) {
                return self.replies.remove(index);
            }
            self.wakes.recv_timeout(PATIENCE).expect("the engine answers in time");
            self.replies.extend(self.client.receive());
        }
    }

    fn ask(&mut self, job: Job, bulk: Vec<u8>) -> Reply {
        let id = self.client.send(job, bulk);
        self.answer(id)
    }

    fn open(&mut self, name: &str) -> Reply {
        self.ask(open(name), Vec::new())
    }
}

fn open(name: &str) -> Job {
    Job::Open(OpenModel { source: ModelSource::Named(name.to_owned()), device: "cpu".to_owned(), precision: "f32".to_owned() })
}

fn app() -> App<Files> {
    App::new(Files::default)
}

fn model(name: &str) -> String {
    fixture(&format!("models/{name}")).display().to_string()
}

fn add(image: u64, file: &str) -> (Job, Vec<u8>) {
    let job = Job::AddImage(AddImage { image, form: ImageForm::File, preview_side: 64 });
    (job, std::fs::read(fixture(&format!("images_for_models/{file}"))).unwrap())
}

fn classify(image: u64, labels: &[&str]) -> Job {
    let labels = labels.iter().map(|label| vec![(*label).to_owned()]).collect();
    Job::Classify(Classify { image, max_num_patches: Some(64), labels })
}

fn failure(reply: &Reply) -> &Failure {
    match &reply.news {
        News::Failed(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

#[test]
fn logits_are_those_of_transformers() {
    let manifest: Value = serde_json::from_slice(&std::fs::read(fixture("models/manifest.json")).unwrap()).unwrap();
    let texts: Vec<&str> = manifest["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let images: Vec<&str> = manifest["images"].as_array().unwrap().iter().map(|image| image.as_str().unwrap()).collect();
    let naflex = manifest["models"].as_array().unwrap().iter().find(|model| model["name"] == "naflex").unwrap();
    let expected = std::fs::read(fixture("models/naflex/expected.safetensors")).unwrap();
    let logits: Vec<f32> =
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&expected).unwrap().tensor("logits_per_image").unwrap().data());

    let mut app = app();
    let opened = app.open(&model("naflex"));
    let News::Opened(info) = opened.news else { panic!("{opened:?}") };
    assert_eq!((info.patch_size, info.positions, info.image_size), (16, 64, None));
    // Loading was reported on the way.
    let stages: Vec<Stage> = app
        .replies
        .iter()
        .filter_map(|reply| if let News::Progress(progress) = reply.news { Some(progress.stage) } else { None })
        .collect();
    assert!([Stage::Load, Stage::VisionTower, Stage::TextTower].iter().all(|stage| stages.contains(stage)), "{stages:?}");

    let mut checked = 0;
    for (case, known) in naflex["cases"].as_array().unwrap().iter().zip(logits.chunks_exact(texts.len())) {
        if case["budget"].as_u64() != Some(64) {
            continue;
        }
        let file = images[case["image"].as_u64().unwrap() as usize];
        let (job, bulk) = add(case["image"].as_u64().unwrap(), file.rsplit('/').next().unwrap());
        let added = app.ask(job, bulk);
        let News::Image(image) = &added.news else { panic!("{added:?}") };
        assert_eq!(added.bulk.len(), image.preview[0] * image.preview[1] * 3);
        assert!(image.preview.iter().all(|side| (1..=64).contains(side)));
        let reply = app.ask(classify(case["image"].as_u64().unwrap(), &texts), Vec::new());
        let News::Scores(scores) = reply.news else { panic!("{reply:?}") };
        let error = scores.logits.iter().zip(known).fold(0.0f32, |worst, (got, want)| worst.max((got - want).abs()));
        assert!(error < 1e-3, "{file}: logits differ by {error}");
        checked += 1;
    }
    assert!(checked > 3);
}

/// The values of an answer to a request for embeddings, and how many each has.
fn embeddings(reply: &Reply) -> (Vec<f32>, usize) {
    let News::Embeddings { rows, dim } = reply.news else { panic!("{reply:?}") };
    assert_eq!(reply.bulk.len(), rows * dim * 4);
    (bytemuck::pod_collect_to_vec(&reply.bulk), dim)
}

#[test]
fn embeddings_are_those_of_transformers_and_shared_with_classify() {
    let manifest: Value = serde_json::from_slice(&std::fs::read(fixture("models/manifest.json")).unwrap()).unwrap();
    let texts: Vec<String> = manifest["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    let naflex = manifest["models"].as_array().unwrap().iter().find(|model| model["name"] == "naflex").unwrap();
    let row = naflex["cases"].as_array().unwrap().iter().position(|case| case["image"] == 5 && case["budget"] == 64).unwrap();
    let expected = std::fs::read(fixture("models/naflex/expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let known = |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(expected.tensor(name).unwrap().data()) };

    let mut app = app();
    app.open(&model("naflex"));
    let (job, bulk) = add(1, "05_landscape_640x480.png");
    app.ask(job, bulk);
    let embed = Job::EmbedImage(EmbedImage { image: 1, max_num_patches: Some(64) });
    let (image, dim) = embeddings(&app.ask(embed.clone(), Vec::new()));
    // The bar of tests/parity.rs for the CPU backend.
    assert!(worst_row_error(&image, &known("image_embeds")[row * dim..(row + 1) * dim], dim) < 1e-5);
    // More texts than are encoded at once, and every one of them twice.
    let twice: Vec<String> = texts.iter().chain(&texts).cloned().collect();
    let (rows, dim) = embeddings(&app.ask(Job::EmbedTexts { texts: twice }, Vec::new()));
    assert!(worst_row_error(&rows, &known("text_embeds").repeat(2), dim) < 1e-5);

    let reply = app.ask(classify(1, &[&texts[1], &texts[2]]), Vec::new());
    let News::Scores(scores) = reply.news else { panic!("{reply:?}") };
    assert_eq!((scores.image_millis, scores.text_millis), (0.0, 0.0));
    let (none, _) = embeddings(&app.ask(Job::EmbedTexts { texts: Vec::new() }, Vec::new()));
    assert!(none.is_empty());
    let unknown = Job::EmbedImage(EmbedImage { image: 9, max_num_patches: None });
    assert_eq!(failure(&app.ask(unknown, Vec::new())).kind, FailureKind::UnknownImage);
}

#[test]
fn what_is_known_is_not_computed_again() {
    let mut app = app();
    app.open(&model("naflex"));
    let (job, bulk) = add(1, "05_landscape_640x480.png");
    app.ask(job, bulk);
    let scores = |reply: Reply| if let News::Scores(scores) = reply.news { scores } else { panic!("{reply:?}") };
    let first = scores(app.ask(classify(1, &["a cat", "a dog"]), Vec::new()));
    assert!(first.image_millis > 0.0 && first.text_millis > 0.0);
    let second = scores(app.ask(classify(1, &["a dog"]), Vec::new()));
    assert_eq!((second.image_millis, second.text_millis, second.logits[0]), (0.0, 0.0, first.logits[1]));
    // Another picture under the same number is another picture.
    let (job, bulk) = add(1, "03_square_128x128.png");
    app.ask(job, bulk);
    let third = scores(app.ask(classify(1, &["a dog"]), Vec::new()));
    assert!(third.image_millis > 0.0 && third.logits != second.logits);
}

#[test]
fn views_are_maps_of_the_patches() {
    let mut app = app();
    app.open(&model("naflex"));
    for (image, file) in [(1, "05_landscape_640x480.png"), (2, "03_square_128x128.png")] {
        let (job, bulk) = add(image, file);
        app.ask(job, bulk);
    }
    let phrases = vec![vec!["a cat".to_owned()], vec!["空".to_owned(), "sky".to_owned()]];
    let views = [
        (ViewOf::Components { count: 3, with: Vec::new(), foreground: false }, 3),
        (ViewOf::Components { count: 3, with: vec![2], foreground: true }, 3),
        (ViewOf::Similar { of: 1, place: [1.0, 0.99] }, 1),
        (ViewOf::Phrases(phrases), 2),
        (ViewOf::Groups(4), 1),
        (ViewOf::Attention, 2),
        (ViewOf::Features, 128),
    ];
    for (view, expected) in views {
        let job = ViewJob { image: 1, max_num_patches: Some(64), layer: None, mask_outliers: false, view };
        let reply = app.ask(Job::View(job.clone()), Vec::new());
        let News::Map { rows, cols, channels, .. } = reply.news else { panic!("{reply:?}") };
        assert_eq!((rows, cols, channels, reply.bulk.len()), (7, 9, expected, 63 * expected * 4), "{job:?}");
        if let ViewOf::Similar { .. } = job.view {
            let cosines: Vec<f32> = bytemuck::pod_collect_to_vec(&reply.bulk);
            assert!((cosines[62] - 1.0).abs() < 1e-6);
        }
    }
    let similar = |of, place| {
        let view = ViewOf::Similar { of, place };
        Job::View(ViewJob { image: 1, max_num_patches: Some(64), layer: None, mask_outliers: false, view })
    };
    assert_eq!(failure(&app.ask(similar(1, [0.5, 1.1]), Vec::new())).kind, FailureKind::Input);
    assert_eq!(failure(&app.ask(similar(3, [0.5, 0.5]), Vec::new())).kind, FailureKind::UnknownImage);
    let other: Vec<f32> = bytemuck::pod_collect_to_vec(&app.ask(similar(2, [0.5, 0.5]), Vec::new()).bulk);
    assert!(other.len() == 63 && other.iter().all(|cosine| *cosine < 0.999_99));
}

#[test]
fn failures_say_what_to_do_and_the_engine_goes_on() {
    let mut app = app();
    let (job, bulk) = add(1, "03_square_128x128.png");
    app.ask(job, bulk);
    let kind = |reply: &Reply| failure(reply).kind;
    assert_eq!(kind(&app.ask(classify(1, &["a cat"]), Vec::new())), FailureKind::NoModel);
    assert_eq!(kind(&app.open("no/such model at all")), FailureKind::Model);
    app.open(&model("naflex"));
    assert_eq!(kind(&app.ask(classify(9, &["a cat"]), Vec::new())), FailureKind::UnknownImage);
    assert_eq!(kind(&app.ask(add(2, "03_square_128x128.png").0, b"no picture".to_vec())), FailureKind::Input);
    let pixels = Job::AddImage(AddImage { image: 3, form: ImageForm::Pixels { height: 2, width: 3 }, preview_side: 0 });
    assert_eq!(kind(&app.ask(pixels.clone(), vec![0; 17])), FailureKind::Input);
    assert!(matches!(app.ask(pixels, vec![0; 18]).news, News::Image(_)));
    assert!(matches!(app.ask(classify(3, &["a cat"]), Vec::new()).news, News::Scores(_)));
    let reply = app.ask(Job::Tokenize { texts: vec!["a cat".to_owned(), "word ".repeat(200)] }, Vec::new());
    let News::Texts(infos) = reply.news else { panic!("{reply:?}") };
    assert!(infos[0].tokens < 10 && !infos[0].truncated && infos[1].tokens == 64 && infos[1].truncated, "{infos:?}");
}

#[test]
fn a_job_that_waits_can_be_cancelled() {
    let mut app = app();
    let opening = app.client.send(open(&model("naflex")), Vec::new());
    let waiting = app.client.send(Job::Tokenize { texts: vec!["a cat".to_owned()] }, Vec::new());
    app.client.cancel(waiting);
    assert!(matches!(app.answer(opening).news, News::Opened(_)));
    assert_eq!(failure(&app.answer(waiting)).kind, FailureKind::Cancelled);
}

/// Panics as often as it is told to, then opens a fixture.
struct Fragile(Arc<AtomicU32>);

impl Loader for Fragile {
    async fn open(&mut self, source: &ModelSource, _report: &mut Report<'_>) -> Result<(Checkpoint, Table), Failure> {
        let ModelSource::Named(name) = source else { panic!("only folders are opened here") };
        let left = self.0.load(Ordering::SeqCst);
        if left > 0 {
            self.0.store(left - 1, Ordering::SeqCst);
            panic!("on purpose");
        }
        let opened = Checkpoint::open(std::path::Path::new(name)).await;
        opened.map(|checkpoint| (checkpoint, Table::Here)).map_err(|error| Failure::new(FailureKind::Model, error))
    }
}

#[test]
fn a_panic_costs_nothing_and_a_second_one_costs_the_job() {
    let panics = Arc::new(AtomicU32::new(1));
    let mut app = App::new({
        let panics = Arc::clone(&panics);
        move || Fragile(Arc::clone(&panics))
    });
    let (job, bulk) = add(1, "03_square_128x128.png");
    app.ask(job, bulk);
    assert!(matches!(app.open(&model("naflex")).news, News::Opened(_)));
    // The picture went to the engine that died, and is in the new one all the same.
    assert!(matches!(app.ask(classify(1, &["a cat"]), Vec::new()).news, News::Scores(_)));
    panics.store(2, Ordering::SeqCst);
    let reply = app.open(&model("fixed14"));
    assert!(failure(&reply).kind == FailureKind::Crashed && failure(&reply).message.contains("on purpose"), "{reply:?}");
    assert!(matches!(app.open(&model("naflex")).news, News::Opened(_)));
    assert!(matches!(app.ask(classify(1, &["a cat"]), Vec::new()).news, News::Scores(_)));
}

/// Opens a fixture without its token table, which comes at the second attempt; or is not what it should be.
struct Late {
    attempts: u32,
    is_damaged: bool,
    closed: Arc<AtomicU32>,
}

impl Late {
    /// An app on it, and how often it was told to let go.
    fn app(is_damaged: bool) -> (App<Self>, Arc<AtomicU32>) {
        let closed = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&closed);
        (App::new(move || Self { attempts: 0, is_damaged, closed: Arc::clone(&counter) }), closed)
    }
}

impl Loader for Late {
    async fn open(&mut self, source: &ModelSource, _report: &mut Report<'_>) -> Result<(Checkpoint, Table), Failure> {
        let ModelSource::Named(name) = source else { panic!("only folders are opened here") };
        Ok((Checkpoint::open(std::path::Path::new(name)).await.unwrap(), Table::Coming))
    }

    fn close(&mut self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }

    async fn fetch_table(&mut self, report: &mut Report<'_>) -> Result<(), Failure> {
        self.attempts += 1;
        report.step(Stage::Download, u64::from(self.attempts), 2)?;
        match self.attempts {
            0..2 => Err(Failure::new(FailureKind::Cancelled, "stopped")),
            _ if self.is_damaged => Err(Failure::new(FailureKind::Damaged, "what arrived is something else")),
            _ => Ok(()),
        }
    }
}

#[test]
fn pictures_do_not_wait_for_the_token_table() {
    let (mut app, closed) = Late::app(false);
    let opened = app.open(&model("naflex"));
    assert!(matches!(&opened.news, News::Opened(info) if info.table == Table::Coming), "{opened:?}");
    let (job, bulk) = add(1, "03_square_128x128.png");
    app.ask(job, bulk);
    let embed = Job::EmbedImage(EmbedImage { image: 1, max_num_patches: Some(64) });
    assert!(matches!(app.ask(embed, Vec::new()).news, News::Embeddings { rows: 1, .. }));
    let refused = app.ask(classify(1, &["a cat"]), Vec::new());
    assert!(failure(&refused).message.contains("still being downloaded"), "{refused:?}");
    // What has given way goes on when it is asked for again.
    assert_eq!(failure(&app.ask(Job::FetchTable, Vec::new())).kind, FailureKind::Cancelled);
    for _ in 0..2 {
        assert_eq!(app.ask(Job::FetchTable, Vec::new()).news, News::Done);
    }
    assert!(matches!(app.ask(classify(1, &["a cat"]), Vec::new()).news, News::Scores(_)));
    assert_eq!(closed.load(Ordering::SeqCst), 0);
}

#[test]
fn a_model_that_is_not_what_it_should_be_is_closed() {
    let (mut app, closed) = Late::app(true);
    app.open(&model("naflex"));
    app.ask(Job::FetchTable, Vec::new());
    assert_eq!(closed.load(Ordering::SeqCst), 0);
    assert_eq!(failure(&app.ask(Job::FetchTable, Vec::new())).kind, FailureKind::Damaged);
    assert_eq!(failure(&app.ask(Job::FetchTable, Vec::new())).kind, FailureKind::NoModel);
    assert_eq!(closed.load(Ordering::SeqCst), 1);
    // So is one that its loader opened and nobody can use.
    let Job::Open(open) = open(&model("naflex")) else { unreachable!() };
    let refused = app.ask(Job::Open(OpenModel { precision: "f99".to_owned(), ..open }), Vec::new());
    assert_eq!((failure(&refused).kind, closed.load(Ordering::SeqCst)), (FailureKind::Input, 2));
}

#[test]
fn models_of_the_shared_cache_are_listed_and_not_deleted() {
    let mut app = app();
    let reply = app.ask(Job::Stored, Vec::new());
    assert!(matches!(&reply.news, News::Stored(stored) if stored.quota.is_none() && stored.models.iter().all(|model| model.complete)));
    let reply = app.ask(Job::DeleteStored { name: "google/siglip2-base-patch16-naflex".to_owned() }, Vec::new());
    assert!(failure(&reply).message.contains("share"), "{reply:?}");
}

/// Messages leave the process in a browser: their form is pinned here.
#[test]
fn messages_have_the_form_that_the_page_knows() {
    let (job, _) = add(7, "03_square_128x128.png");
    let embed = Job::EmbedImage(EmbedImage { image: 7, max_num_patches: None });
    let texts = Job::EmbedTexts { texts: vec!["a".to_owned()] };
    let delete = Job::DeleteStored { name: "a/b@c".to_owned() };
    let requests = [
        open("x"),
        Job::FetchTable,
        job,
        Job::DropImage { image: 7 },
        classify(7, &["a", "b"]),
        embed,
        texts,
        Job::Cancel { job: 3 },
        Job::Stored,
        delete,
    ];
    let texts: Vec<String> =
        requests.into_iter().map(|job| serde_json::to_string(&Request { id: 5, generation: 2, job, bulk: vec![1] }).unwrap()).collect();
    assert_eq!(
        texts,
        [
            r#"{"id":5,"generation":2,"kind":"open","body":{"source":{"named":"x"},"device":"cpu","precision":"f32"}}"#,
            r#"{"id":5,"generation":2,"kind":"fetch_table"}"#,
            r#"{"id":5,"generation":2,"kind":"add_image","body":{"image":7,"form":"file","preview_side":64}}"#,
            r#"{"id":5,"generation":2,"kind":"drop_image","body":{"image":7}}"#,
            r#"{"id":5,"generation":2,"kind":"classify","body":{"image":7,"max_num_patches":64,"labels":[["a"],["b"]]}}"#,
            r#"{"id":5,"generation":2,"kind":"embed_image","body":{"image":7,"max_num_patches":null}}"#,
            r#"{"id":5,"generation":2,"kind":"embed_texts","body":{"texts":["a"]}}"#,
            r#"{"id":5,"generation":2,"kind":"cancel","body":{"job":3}}"#,
            r#"{"id":5,"generation":2,"kind":"stored"}"#,
            r#"{"id":5,"generation":2,"kind":"delete_stored","body":{"name":"a/b@c"}}"#,
        ]
    );
    // JavaScript leaves out what it has no value for.
    let request: Request = serde_json::from_str(r#"{"id":5,"generation":2,"kind":"embed_image","body":{"image":7}}"#).unwrap();
    assert_eq!(request.job, Job::EmbedImage(EmbedImage { image: 7, max_num_patches: None }));
    let embeddings = Reply { id: 5, generation: 2, news: News::Embeddings { rows: 2, dim: 128 }, bulk: vec![1] };
    let text = r#"{"id":5,"generation":2,"kind":"embeddings","body":{"rows":2,"dim":128}}"#;
    assert_eq!(serde_json::to_string(&embeddings).unwrap(), text);
    let model = StoredModel { name: "a/b".to_owned(), revision: "main".to_owned(), bytes: 7, complete: false, light: true };
    let stored = Reply { news: News::Stored(Stored { models: vec![model], usage: 9, quota: Some(10) }), ..embeddings };
    let model = r#"{"name":"a/b","revision":"main","bytes":7,"complete":false,"light":true}"#;
    let text = format!(r#"{{"id":5,"generation":2,"kind":"stored","body":{{"models":[{model}],"usage":9,"quota":10}}}}"#);
    assert_eq!(serde_json::to_string(&stored).unwrap(), text);
    let reply = r#"{"id":5,"generation":2,"kind":"failed","body":{"kind":"cancelled","message":"stopped"}}"#;
    let parsed: Reply = serde_json::from_str(reply).unwrap();
    assert_eq!((failure(&parsed).kind, serde_json::to_string(&parsed).unwrap().as_str()), (FailureKind::Cancelled, reply));
}

#[cfg(all(feature = "index", feature = "demo-model"))]
mod collections {
    use std::fs;
    use std::path::{Path, PathBuf};

    use polyglance::engine::{Hits, Indexed, Search};

    use super::*;

    /// The samples in a folder of their own, a broken file among them, and a shelf that is empty.
    struct Library(tempfile::TempDir);

    impl Library {
        fn new() -> Self {
            let library = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(library.root().join("below")).unwrap();
            let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples");
            for (number, file) in fs::read_dir(samples).unwrap().enumerate() {
                let file = file.unwrap();
                let folder = if number % 2 == 0 { library.root() } else { library.root().join("below") };
                fs::copy(file.path(), folder.join(file.file_name())).unwrap();
            }
            fs::write(library.root().join("torn.jpg"), "no picture").unwrap();
            library
        }

        fn root(&self) -> PathBuf {
            self.0.path().join("My pictures - 2024")
        }

        fn app(&self) -> App<Files> {
            let shelf = self.0.path().join("shelf");
            let mut app = App::new(move || Files::with_indexes(shelf.clone()));
            let demo = OpenModel { source: ModelSource::Demo, device: "cpu".to_owned(), precision: "f32".to_owned() };
            app.ask(Job::Open(demo), Vec::new());
            app
        }

        fn index(&self, app: &mut App<Files>) -> Indexed {
            let root = self.root().display().to_string();
            match app.ask(Job::Index { root }, Vec::new()).news {
                News::Indexed(indexed) => *indexed,
                news => panic!("{news:?}"),
            }
        }
    }

    fn search(app: &mut App<Files>, collection: &str, query: &str) -> Reply {
        let search = Search { collection: collection.to_owned(), query: query.to_owned(), count: 100, within: None };
        app.ask(Job::Search(search), Vec::new())
    }

    fn hits(app: &mut App<Files>, collection: &str, query: &str) -> Vec<String> {
        match search(app, collection, query).news {
            News::Hits(Hits { hits, .. }) => {
                hits.into_iter().map(|hit| hit.path.trim_start_matches("below/").trim_end_matches(".jpg").to_owned()).collect()
            }
            news => panic!("{news:?}"),
        }
    }

    #[test]
    fn a_folder_is_indexed_searched_and_forgotten() {
        let library = Library::new();
        let mut app = library.app();
        let indexed = library.index(&mut app);
        let name = indexed.collection.name.clone();
        assert_eq!((indexed.added, indexed.gone, indexed.collection.pictures), (12, 0, 12));
        assert_eq!((indexed.unreadable.len(), indexed.unreadable[0].0.as_str()), (1, "torn.jpg"));
        assert!(indexed.left_out.contains("samples.json"), "{}", indexed.left_out);
        assert_eq!(app.ask(Job::Collections, Vec::new()).news, News::Collections(vec![indexed.collection.clone()]));

        assert_eq!(hits(&mut app, &name, "замок")[0], "castle");
        assert_eq!(hits(&mut app, &name, "  ").len(), 12, "without a query everything is shown");
        // A picture of the folder, by its path below it and by its whole path; one from elsewhere.
        let root = library.root();
        let key = if root.join("key.jpg").exists() { "key.jpg" } else { "below/key.jpg" };
        let elsewhere = library.0.path().join("elsewhere.jpg");
        fs::copy(root.join(key), &elsewhere).unwrap();
        for query in [format!("./{key}"), format!("\"{}\"", root.join(key).display()), elsewhere.display().to_string()] {
            assert_eq!(hits(&mut app, &name, &query)[0], "key", "{query}");
        }
        for (query, reason) in [("red + ", "empty"), ("./none.jpg", "none.jpg"), ("key - key", "cancel")] {
            let message = failure(&search(&mut app, &name, query)).message.clone();
            assert!(message.contains(reason), "{message}");
        }

        let thumbnails = Job::Thumbnails { collection: name.clone(), paths: vec![key.to_owned(), "none".to_owned()] };
        let Reply { news: News::Thumbnails { sizes }, bulk, .. } = app.ask(thumbnails, Vec::new()) else { panic!("no thumbnails") };
        assert!(sizes[0][0] > 50 && sizes[1] == [0, 0] && bulk.len() == sizes[0][0] * sizes[0][1] * 3, "{sizes:?}");
        let look = |path: &str| Job::Look { collection: name.clone(), path: path.to_owned(), preview_side: 100 };
        let Reply { news: News::Image(info), bulk, .. } = app.ask(look(key), Vec::new()) else { panic!("no picture") };
        assert!(info.preview.iter().max() == Some(&100) && bulk.len() == info.preview[0] * info.preview[1] * 3, "{info:?}");
        for path in ["../elsewhere.jpg", "/etc/hostname"] {
            assert!(failure(&app.ask(look(path), Vec::new())).message.contains("not below"));
        }

        app.open(&model("naflex"));
        let message = failure(&search(&mut app, &name, "замок")).message.clone();
        assert!(message.contains("indexed with demo"), "{message}");
        assert_eq!(app.ask(Job::DeleteCollection { name: name.clone() }, Vec::new()).news, News::Done);
        assert_eq!(app.ask(Job::Collections, Vec::new()).news, News::Collections(Vec::new()));
        assert_eq!(fs::read_dir(library.0.path().join("shelf")).unwrap().count(), 0);
        assert!(root.join(key).exists(), "pictures are nobody's to delete");
    }

    #[test]
    fn an_update_gives_way_goes_on_and_mends_what_is_damaged() {
        let library = Library::new();
        for copy in 0..400 {
            fs::copy(library.root().join("torn.jpg"), library.root().join(format!("torn-{copy}.jpg"))).unwrap();
        }
        let castle = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples/castle.jpg");
        for copy in 0..300 {
            fs::copy(&castle, library.root().join(format!("copy-{copy}.jpg"))).unwrap();
        }
        let mut app = library.app();
        let root = library.root().display().to_string();
        let mut turns = 0;
        let indexed = loop {
            let id = app.client.send(Job::Index { root: root.clone() }, Vec::new());
            let tokens = app.client.send(Job::Tokenize { texts: vec!["a".to_owned()] }, Vec::new());
            assert!(matches!(app.answer(tokens).news, News::Texts(_)));
            turns += 1;
            assert!(turns < 1_000, "it does not get on");
            match app.answer(id).news {
                News::Indexed(indexed) => break indexed,
                News::Failed(failure) => assert_eq!(failure.kind, FailureKind::Cancelled, "{failure}"),
                news => panic!("{news:?}"),
            }
        };
        assert!(turns > 1, "others had to wait");
        assert_eq!((indexed.added, indexed.collection.pictures, indexed.unreadable.len()), (312, 312, 401));

        let shelf = library.0.path().join("shelf");
        fs::write(shelf.join(format!("{}.index", indexed.collection.name)), "not an index").unwrap();
        drop(app);
        let mut app = library.app();
        let News::Collections(list) = app.ask(Job::Collections, Vec::new()).news else { panic!("no list") };
        assert!(list.len() == 1 && list[0].damage.is_some(), "{list:?}");
        let again = library.index(&mut app);
        assert!(again.rebuilt.is_some() && again.collection.pictures == 312, "{again:?}");

        // A drive that is not there is not a folder whose pictures were deleted.
        let root = library.root();
        fs::rename(&root, root.with_extension("away")).unwrap();
        fs::create_dir(&root).unwrap();
        let refused = app.ask(Job::Index { root: root.display().to_string() }, Vec::new());
        assert!(failure(&refused).message.contains("is its drive connected"), "{refused:?}");
        assert!(matches!(app.ask(Job::Collections, Vec::new()).news, News::Collections(list) if list[0].pictures == 312));
    }
}
