//! The interface with its real engine and no window: what people click and type, and what they read then.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use eframe::egui::{ColorImage, DroppedFileHandle, Event, Key, Modifiers, PointerButton, Pos2, Role, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use polyglance::app::{App, Arrival, Assets, Host};
use polyglance::engine::thread::{Files, Thread};
use polyglance::image::decode;
use polyglance::limits::Limits;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A place to run that does what the test says.
struct Script {
    arrivals: Receiver<Arrival>,
    saved: Sender<(String, Vec<u8>)>,
    pasted: Sender<String>,
    opened: Sender<PathBuf>,
    fragment: String,
    language: &'static str,
}

impl Host for Script {
    fn pick_pictures(&mut self) {}

    fn pick_model(&mut self) {}

    fn has_folders(&self) -> bool {
        true
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn read(&mut self, picture: PathBuf) {
        self.opened.send(picture).unwrap();
    }

    fn take(&mut self, _files: Vec<DroppedFileHandle>) {}

    fn take_text(&mut self, text: &str) {
        self.pasted.send(text.to_owned()).unwrap();
    }

    fn save(&mut self, name: &str, bytes: Vec<u8>) {
        self.saved.send((name.to_owned(), bytes)).unwrap();
    }

    fn arrivals(&mut self) -> Vec<Arrival> {
        self.arrivals.try_iter().collect()
    }

    fn fragment(&self) -> String {
        self.fragment.clone()
    }

    fn link(&mut self, fragment: &str) -> String {
        self.save("link", fragment.as_bytes().to_vec());
        format!("https://example.org/#{fragment}")
    }

    fn languages(&self) -> Vec<String> {
        vec![self.language.to_owned()]
    }

    fn is_page(&self) -> bool {
        false
    }
}

/// The app in a window that nobody sees.
struct Driven {
    harness: Harness<'static, Option<App>>,
    arrivals: Sender<Arrival>,
    saved: Receiver<(String, Vec<u8>)>,
    pasted: Receiver<String>,
    opened: Receiver<PathBuf>,
    /// Where its indexes are.
    shelf: tempfile::TempDir,
}

impl Driven {
    fn new(fragment: &str, language: &'static str) -> Self {
        let (arrivals, incoming) = channel();
        let (outgoing, saved) = channel();
        let (text, pasted) = channel();
        let (file, opened) = channel();
        let shelf = tempfile::tempdir().unwrap();
        let folder = shelf.path().to_owned();
        let mut host =
            Some(Script { arrivals: incoming, saved: outgoing, pasted: text, opened: file, fragment: fragment.to_owned(), language });
        let show = move |ui: &mut eframe::egui::Ui, app: &mut Option<App>| {
            let app = app.get_or_insert_with(|| {
                let host = host.take().expect("one app is made");
                let folder = folder.clone();
                let thread = Thread::with_loader(|| {}, move || Files::with_indexes(folder.clone()));
                App::new(ui.ctx(), Box::new(thread), Box::new(host), Assets::inside())
            });
            app.show(ui);
        };
        // Glyphs of other scripts come from fonts that a machine may lack.
        let builder = Harness::builder().with_size(Vec2::new(1280.0, 900.0)).allow_missing_glyphs();
        let harness = builder.build_ui_state(show, None);
        Self { harness, arrivals, saved, pasted, opened, shelf }
    }

    /// Drags through these places, a frame for each.
    fn drag_through(&mut self, places: &[Pos2]) {
        let [first, .., last] = places else { panic!("a drag has two places") };
        let button =
            |pos: &Pos2, pressed| Event::PointerButton { pos: *pos, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE };
        self.harness.event(Event::PointerMoved(*first));
        self.harness.step();
        self.harness.event(button(first, true));
        for place in places {
            self.harness.event(Event::PointerMoved(*place));
            self.harness.step();
        }
        self.harness.event(button(last, false));
        self.harness.step();
    }

    /// Draws until something that `label` is part of can be read, and gives all of it.
    fn read(&mut self, label: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            self.harness.step();
            if let Some(node) = self.harness.query_all_by_label_contains(label).next() {
                let node = node.accesskit_node();
                return node.label().or_else(|| node.value()).unwrap_or_default();
            }
            assert!(Instant::now() < end, "{label:?} never appears in\n{:?}", self.harness.root());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Draws until nothing with `label` in it can be read.
    fn gone(&mut self, label: &str) {
        let end = Instant::now() + PATIENCE;
        while self.harness.query_all_by_label_contains(label).next().is_some() {
            assert!(Instant::now() < end, "{label:?} never goes");
            self.harness.step();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn click(&mut self, label: &str) {
        self.read(label);
        // Through the accessibility tree, so that it need not be scrolled into view; of several the last, for menus come after what opens them.
        self.harness.get_all_by_label(label).last().unwrap().click_accesskit();
        self.harness.step();
        self.harness.step();
    }

    /// The share of a label, from its bar.
    fn share(&mut self, label: &str) -> f32 {
        let bar = self.read(&format!("{label}: share "));
        bar.split("share ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|number| number.parse().ok()).unwrap_or(0.0)
    }

    /// Presses a button until what it saves is as wanted: it may be too early for that.
    fn saved(&mut self, button: &str, is_wanted: impl Fn(&(String, Vec<u8>)) -> bool) -> (String, Vec<u8>) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.harness.step();
            if let Some(button) = self.harness.query_by_label(button) {
                button.click_accesskit();
            }
            self.harness.step();
            self.harness.step();
            if let Some(saved) = self.saved.try_iter().last().filter(&is_wanted) {
                return saved;
            }
            assert!(Instant::now() < end, "{button}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn add(&mut self, file: &str) {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        self.arrivals.send(Arrival::Picture { name: file.rsplit('/').next().unwrap().to_owned(), bytes }).unwrap();
    }
}

#[test]
fn the_stage_names_what_is_on_it() {
    let mut app = Driven::new("#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza%0Arocket", "en");
    assert!(app.share("octopus") > 50.0);
    assert!(app.share("pizza") < 25.0);
    app.read("Stage: octopus");
    // Another emoji joins it, and then the first goes.
    app.click("rocket");
    app.read("Stage: octopus, rocket");
    app.click("Clear");
    app.read("Stage: ");
    app.click("Copy link");
    app.read("The link is on the clipboard.");
}

#[test]
fn one_tap_shows_the_ranking_in_other_languages() {
    let mut app = Driven::new("#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza", "en");
    app.click("In 12 languages");
    for name in ["タコ", "осьминог", "Oktopus"] {
        app.read(name);
    }
    app.click("日本語");
    app.click("Deutsch");
    app.read("Oktopus: share");
}

#[test]
fn pictures_are_classified_and_exported() {
    let mut app = Driven::new("", "en");
    app.add("assets/demo/samples/pizza.jpg");
    assert!(app.share("pizza") > 50.0);
    app.add("assets/demo/samples/key.jpg");
    app.read("key.jpg");
    assert!(app.share("key") > 50.0);
    app.click("All pictures");
    app.read("best label");
    let holds = |csv: &[u8], name: &str| String::from_utf8_lossy(csv).contains(name);
    // Once both pictures are known.
    let (name, csv) = app.saved("Export CSV", |(_, csv)| holds(csv, "pizza.jpg") && holds(csv, "key.jpg"));
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(name, "polyglance.csv");
    assert_eq!(csv.lines().count(), 1 + 2 * 8, "{csv}");
}

#[test]
fn a_pasted_picture_is_classified_and_pasted_text_is_not_taken_from_who_writes() {
    let mut app = Driven::new("", "en");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples");
    let picture = decode(&std::fs::read(folder.join("pizza.jpg")).unwrap(), &Limits::current()).unwrap().pixels;
    let size = [picture.width() as usize, picture.height() as usize];
    app.harness.event(Event::PasteImage(ColorImage::from_rgb(size, picture.as_raw()).into()));
    app.read("pasted");
    assert!(app.share("pizza") > 50.0);
    app.harness.event(Event::Paste("/tmp/picture.png".to_owned()));
    app.harness.step();
    assert_eq!(app.pasted.try_iter().collect::<Vec<_>>(), ["/tmp/picture.png"]);
    app.harness.get_all_by_label("Labels").last().unwrap().focus();
    app.harness.step();
    app.harness.event(Event::Paste("a label".to_owned()));
    app.read("a label");
    assert!(app.pasted.try_iter().next().is_none());
}

#[test]
fn what_is_no_picture_is_said_beside_its_name() {
    let mut app = Driven::new("", "en");
    app.add("Cargo.toml");
    let message = app.read("Cargo.toml: ");
    assert!(message.len() > "Cargo.toml: ".len() + 10, "{message}");
    app.click("Close");
    app.harness.step();
    assert!(app.harness.query_by_label_contains("Cargo.toml: ").is_none());
}

#[test]
fn every_view_of_patches_is_shown_and_saved() {
    let mut app = Driven::new("", "en");
    app.add("assets/demo/samples/castle.jpg");
    app.read("castle.jpg");
    app.click("Features");
    for view in ["Principal components", "Similarity", "Phrase", "Segmentation", "Groups", "Attention"] {
        app.click(view);
        let png = app.saved("Save PNG", |_| true);
        assert!(png.0.starts_with("castle-") && decode(&png.1, &Limits::current()).is_ok_and(|image| image.pixels.width() > 100), "{view}");
    }
    let (name, npy) = app.saved("Save features (.npy)", |_| true);
    assert!(name == "castle.npy" && npy.starts_with(b"\x93NUMPY"));
}

#[test]
fn pictures_are_looked_at_together() {
    let mut app = Driven::new("", "en");
    app.add("assets/demo/samples/castle.jpg");
    app.read("castle.jpg");
    app.click("Features");
    let alone = app.saved("Save PNG", |_| true).1;
    app.add("assets/demo/samples/pizza.jpg");
    app.read("pizza.jpg · ");
    let differs = |app: &mut Driven, name: &str, from: &[u8]| app.saved("Save PNG", |(file, png)| file == name && png != from).1;
    let pizza = differs(&mut app, "pizza-pca.png", &[]);
    app.click("The same colours in all pictures");
    let shared = differs(&mut app, "pizza-pca.png", &pizza);
    app.click("Foreground only");
    differs(&mut app, "pizza-pca.png", &shared);
    app.click("Foreground only");
    app.click("castle.jpg");
    differs(&mut app, "castle-pca.png", &alone);
    // A patch that is clicked in one picture is looked for in the other.
    app.click("Similarity");
    app.read("castle.jpg · ");
    let middle = differs(&mut app, "castle-similar.png", &[]);
    let place = app.harness.get_by_label_contains("castle.jpg · ").rect().lerp_inside(Vec2::splat(0.1));
    app.harness.hover_at(place);
    differs(&mut app, "castle-similar.png", &middle);
    app.harness.drag_at(place);
    app.harness.drop_at(place);
    app.read("Compared with the patch that was clicked in castle.jpg");
    app.click("pizza.jpg");
    let of_castle = differs(&mut app, "pizza-similar.png", &[]);
    app.click("Reset");
    differs(&mut app, "pizza-similar.png", &of_castle);
}

#[test]
fn a_folder_is_indexed_searched_and_gone_through() {
    let mut app = Driven::new("", "en");
    app.click("Retrieve");
    app.read("Search your pictures");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples");
    app.arrivals.send(Arrival::Folder(root.display().to_string())).unwrap();
    app.read("12 added or changed, 0 gone");
    app.read("12 of 12 pictures");
    app.read("bicycle.jpg");
    // The folder was the last thing to be clicked; what is written goes into the query.
    app.harness.get_by_label("Find").focus();
    app.harness.step();
    app.harness.event(Event::Text("замок".to_owned()));
    app.read("castle.jpg · 0.");
    let best = |app: &mut Driven| {
        let score = |node: &egui_kittest::Node<'_>| node.accesskit_node().label()?.split(" · ").nth(1)?.parse::<f32>().ok();
        let nodes: Vec<_> = app.harness.query_all_by_label_contains(".jpg · ").collect();
        let best = nodes.iter().max_by(|a, b| score(a).unwrap_or(-1.0).total_cmp(&score(b).unwrap_or(-1.0)));
        best.and_then(|node| node.accesskit_node().label()).unwrap_or_default()
    };
    assert!(best(&mut app).starts_with("castle.jpg"));
    // Half a query leaves what is there.
    app.harness.event(Event::Text(" + ".to_owned()));
    app.read("a part of the query is empty");
    assert!(best(&mut app).starts_with("castle.jpg"));
    app.click("Clear");
    app.gone(" ms, search ");
    let key = app.read("key.jpg");
    app.click(&key);
    app.read(" / 12 · key.jpg · ");
    app.harness.key_press(Key::ArrowRight);
    app.read(" / 12 · octopus.jpg");
    app.click("More like this");
    app.read("octopus.jpg · 1.000");
    let octopus = app.read("octopus.jpg · 1.000");
    app.click(&octopus);
    app.click("Classify");
    assert_eq!(app.opened.recv_timeout(PATIENCE).unwrap(), root.canonicalize().unwrap().join("octopus.jpg"));
    app.read("Labels");
    app.click("Retrieve");
    app.harness.key_press(Key::Escape);
    let (name, json) = app.saved("Export JSON", |(_, json)| String::from_utf8_lossy(json).contains("octopus"));
    let found: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!((name.as_str(), found.len(), found[0]["path"].as_str()), ("polyglance-results.json", 12, Some("octopus.jpg")));
    // Another model does not know what its numbers mean.
    let naflex = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures/models/naflex");
    app.arrivals.send(Arrival::Model(naflex.display().to_string())).unwrap();
    app.read("This folder was indexed with demo");
    app.click("Index it with the open model");
    app.read("12 added or changed, 0 gone");
    app.click("Forget");
    app.click("Really forget it");
    app.read("This folder was indexed with demo");
    app.click("Forget");
    app.click("Really forget it");
    app.read("Search your pictures");
    assert_eq!(std::fs::read_dir(app.shelf.path()).unwrap().count(), 0);
}

/// A folder of samples, each with the name that it gets there.
fn folder_of<const COUNT: usize>(names: [(&str, &str); COUNT]) -> tempfile::TempDir {
    let pictures = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples");
    for (from, to) in names {
        std::fs::copy(samples.join(format!("{from}.jpg")), pictures.path().join(format!("{to}.jpg"))).unwrap();
    }
    pictures
}

#[test]
fn pictures_are_chosen_on_a_map() {
    let pictures = folder_of([("castle", "castle"), ("key", "key"), ("octopus", "octopus")]);
    let mut app = Driven::new("", "en");
    app.click("Retrieve");
    app.arrivals.send(Arrival::Folder(pictures.path().display().to_string())).unwrap();
    app.read("3 added or changed, 0 gone");
    app.click("Map");
    app.read("Map of 3 pictures, 0 chosen");
    // Around all of them, then around nothing.
    let map = app.harness.get_by_role_and_label(Role::Image, "Map").rect().shrink(2.0);
    let around = [map.left_top(), map.right_top(), map.right_bottom(), map.left_bottom()];
    app.drag_through(&around);
    app.read("Map of 3 pictures, 3 chosen");
    let corner = map.left_top();
    app.drag_through(&[corner, corner + Vec2::new(10.0, 0.0), corner + Vec2::new(0.0, 10.0)]);
    app.read("Map of 3 pictures, 0 chosen");
    app.read("octopus.jpg");
}

#[test]
fn near_duplicates_are_found() {
    let pictures = folder_of([("castle", "castle"), ("key", "key"), ("castle", "a copy")]);
    let mut app = Driven::new("", "en");
    app.click("Retrieve");
    app.arrivals.send(Arrival::Folder(pictures.path().display().to_string())).unwrap();
    app.read("3 added or changed, 0 gone");
    app.read("key.jpg");
    app.click("Near-duplicates");
    app.read("1 groups of near-duplicates among 3 pictures");
    app.read("a copy.jpg · 1.000");
    app.read("castle.jpg · 1.000");
    app.gone("key.jpg");
    app.click("Near-duplicates");
    app.read("key.jpg");
}

#[test]
fn models_are_chosen_and_a_wrong_one_leaves_a_way_back() {
    let mut app = Driven::new("#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza", "en");
    app.read("octopus: share");
    app.click("Model: demo (emoji only)");
    app.read("google/siglip2-base-patch16-naflex");
    app.read("download 1.5 GB");
    // What a page leaves at the hub, a program has on its disk.
    assert!(app.harness.query_by_label_contains("Light: ").is_none());
    app.harness.key_press(Key::Escape);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures/models/naflex");
    app.arrivals.send(Arrival::Model(folder.display().to_string())).unwrap();
    app.read("Model: naflex");
    app.read("octopus: share");
    app.arrivals.send(Arrival::Model("no/such/folder".to_owned())).unwrap();
    app.read("no/such/folder");
    app.click("demo (emoji only)");
    app.read("Model: demo (emoji only)");
    app.read("octopus: share");
}

#[test]
fn the_interface_speaks_japanese() {
    let mut app = Driven::new("", "ja-JP");
    app.read("ステージ");
    app.read("データはこの端末から出ません");
    app.click("English");
    app.read("Nothing leaves this computer");
}

#[test]
fn everything_is_reached_by_keyboard() {
    let mut app = Driven::new("#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza", "en");
    app.read("octopus: share");
    app.harness.key_press_modifiers(Modifiers::ALT, Key::Num3);
    app.harness.step();
    app.read("Principal components");
    app.harness.key_press_modifiers(Modifiers::ALT, Key::Num1);
    app.harness.step();
    app.read("octopus: share");
    app.harness.get_by_label_contains("Stage: octopus").focus();
    app.harness.step();
    for key in [Key::N, Key::Delete] {
        app.harness.key_press(key);
        app.harness.step();
    }
    app.read("Stage: ");
    assert!(app.harness.query_by_label_contains("Stage: octopus").is_none());
}

#[test]
fn an_arrow_that_comes_with_the_click_does_not_move_the_focus() {
    let mut app = Driven::new("#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza", "en");
    app.read("octopus: share");
    let pos = app.harness.get_by_label_contains("Stage: octopus").rect().center();
    app.harness.event(Event::PointerMoved(pos));
    for pressed in [true, false] {
        app.harness.event(Event::PointerButton { pos, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE });
    }
    let key = Key::ArrowRight;
    app.harness.event(Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE });
    app.harness.step();
    app.harness.step();
    assert!(app.harness.get_by_label_contains("Stage: octopus").accesskit_node().is_focused());
}

#[test]
fn a_drag_ends_where_the_hand_lets_go() {
    let mut app = Driven::new("#stage=1.00,5;🐙,0.50,0.50,0.30,0.00&words=octopus%0Apizza", "en");
    app.read("octopus: share");
    let frame = app.harness.get_by_label_contains("Stage: octopus").rect();
    let place = |share: f32| frame.left_top() + share * frame.size();
    let button = |pos, pressed| Event::PointerButton { pos, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE };
    // The hand is quick, and the frames are slow: the first of them brings a good part of the way, and the last most of it with its end.
    let frames = [
        vec![Event::PointerMoved(place(0.5))],
        vec![button(place(0.5), true), Event::PointerMoved(place(0.55))],
        vec![Event::PointerMoved(place(0.6))],
        vec![Event::PointerMoved(place(0.8)), button(place(0.8), false), Event::PointerMoved(place(0.9))],
    ];
    for events in frames {
        events.into_iter().for_each(|event| app.harness.event(event));
        app.harness.step();
    }
    let (_, link) = app.saved("Copy link", |(name, _)| name == "link");
    let link = String::from_utf8(link).unwrap();
    assert!(link.contains(",0.80,0.80,0.30,"), "{link}");
}
