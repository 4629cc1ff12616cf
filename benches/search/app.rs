//! The app as people type into it: from each letter to its results on the screen.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use eframe::egui::{Context, DroppedFileHandle, Event, Key, Modifiers, RawInput, Rect, pos2, vec2};
use polyglance::app::{App, Arrival, Assets, Host};
use polyglance::engine::thread::{Files, Thread};
use polyglance::engine::{Incoming, Job, News, Request, Transport};
use polyglance::platform::Stopwatch;

use crate::peers::{Failure, percentile};
use crate::screen::Screen;

const SIZE: [u32; 2] = [1_280, 900];
const QUERIES: [&str; 4] =
    ["a red bicycle leaning against a wall", "Hund und Kind spielen im Schnee", "夕焼けの海で泳ぐ人々", "قطة نائمة على الأريكة"];
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Types some queries into the app, whose only index is in `shelf` and was made with `model`.
pub(crate) fn typing(shelf: &Path, model: &str) -> Result<(), Failure> {
    let mut window = Window::open(shelf, model)?;
    window.press(Key::Num4, Modifiers::ALT)?;
    window.settle()?;
    let (mut results, mut pictures) = (Vec::new(), Vec::new());
    for query in QUERIES {
        window.press(Key::F, Modifiers::COMMAND)?;
        window.press(Key::A, Modifiers::COMMAND)?;
        for letter in query.chars() {
            let watch = Stopwatch::start();
            window.frame(vec![Event::Text(letter.to_string())])?;
            window.until(|traffic| traffic.searches.is_empty())?;
            results.push(1e3 * watch.elapsed_secs());
            window.until(Traffic::is_quiet)?;
            pictures.push(1e3 * watch.elapsed_secs());
        }
    }
    let count = results.len();
    for (what, millis) in [("results", &mut results), ("all small pictures in view", &mut pictures)] {
        let [median, p95] = [0.5, 0.95].map(|share| percentile(millis, share));
        println!("letter to {what} painted, among 100,000 on {}: {median:.0} ms, p95 {p95:.0} ms ({count} letters)", window.screen.name());
    }
    Ok(())
}

/// What the engine has been asked and has not answered yet.
#[derive(Default)]
struct Traffic {
    searches: BTreeSet<u64>,
    others: BTreeSet<u64>,
}

impl Traffic {
    fn is_quiet(&self) -> bool {
        self.searches.is_empty() && self.others.is_empty()
    }

    fn hear(&mut self, news: &News, id: u64) {
        if news.is_last() {
            self.searches.remove(&id);
            self.others.remove(&id);
        }
    }
}

/// The way to the engine, with an ear to it.
struct Line {
    thread: Thread,
    traffic: Rc<RefCell<Traffic>>,
}

impl Transport for Line {
    fn start(&mut self, generation: u32) {
        self.thread.start(generation);
    }

    fn send(&mut self, request: Request) {
        let mut traffic = self.traffic.borrow_mut();
        let ids = match &request.job {
            Job::Search(_) => Some(&mut traffic.searches),
            // Answered by nobody.
            Job::Cancel { .. } => None,
            _ => Some(&mut traffic.others),
        };
        ids.map(|ids| ids.insert(request.id));
        drop(traffic);
        self.thread.send(request);
    }

    fn receive(&mut self) -> Vec<Incoming> {
        let incoming = self.thread.receive();
        for message in &incoming {
            if let Incoming::Reply(reply) = message {
                self.traffic.borrow_mut().hear(&reply.news, reply.id);
            }
        }
        incoming
    }
}

/// A place to run where nothing is picked, dropped or saved.
struct Place(Receiver<Arrival>);

impl Host for Place {
    fn pick_pictures(&mut self) {}

    fn pick_model(&mut self) {}

    fn has_folders(&self) -> bool {
        true
    }

    fn read(&mut self, _picture: PathBuf) {}

    fn take(&mut self, _files: Vec<DroppedFileHandle>) {}

    fn save(&mut self, _name: &str, _bytes: Vec<u8>) {}

    fn arrivals(&mut self) -> Vec<Arrival> {
        self.0.try_iter().collect()
    }

    fn fragment(&self) -> String {
        String::new()
    }

    fn link(&mut self, fragment: &str) -> String {
        fragment.to_owned()
    }

    fn languages(&self) -> Vec<String> {
        vec!["en".to_owned()]
    }

    fn is_page(&self) -> bool {
        false
    }
}

/// The app in a window that is drawn and not shown.
struct Window {
    context: Context,
    app: App,
    screen: Screen,
    traffic: Rc<RefCell<Traffic>>,
    woken: Receiver<()>,
    clock: Stopwatch,
}

impl Window {
    fn open(shelf: &Path, model: &str) -> Result<Self, Failure> {
        let (arrivals, incoming): (Sender<Arrival>, _) = channel();
        let (wake, woken) = channel();
        let (context, shelf, traffic) = (Context::default(), shelf.to_owned(), Rc::default());
        let thread = Thread::with_loader(move || wake.send(()).unwrap_or_default(), move || Files::with_indexes(shelf.clone()));
        let line = Line { thread, traffic: Rc::clone(&traffic) };
        let app = App::new(&context, Box::new(line), Box::new(Place(incoming)), Assets::inside());
        arrivals.send(Arrival::Model(model.to_owned()))?;
        let mut window = Self { context, app, screen: Screen::new(SIZE)?, traffic, woken, clock: Stopwatch::start() };
        window.settle()?;
        Ok(window)
    }

    /// Draws a frame, to the last pixel.
    fn frame(&mut self, events: Vec<Event>) -> Result<(), Failure> {
        let [width, height] = SIZE.map(|side| side as f32);
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), vec2(width, height))),
            time: Some(self.clock.elapsed_secs()),
            focused: true,
            events,
            ..RawInput::default()
        };
        let output = self.context.run_ui(input, |ui| self.app.show(ui));
        self.screen.draw(&self.context, output)
    }

    fn press(&mut self, key: Key, modifiers: Modifiers) -> Result<(), Failure> {
        let event = |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers };
        self.frame(vec![event(true)])?;
        self.frame(vec![event(false)])
    }

    /// Draws whenever the engine says something, until it has said what is waited for.
    fn until(&mut self, is_done: impl Fn(&Traffic) -> bool) -> Result<(), Failure> {
        while !is_done(&self.traffic.borrow()) {
            self.woken.recv_timeout(PATIENCE)?;
            self.frame(Vec::new())?;
        }
        Ok(())
    }

    /// Draws until there is nothing to wait for.
    fn settle(&mut self) -> Result<(), Failure> {
        for _ in 0..5 {
            self.frame(Vec::new())?;
            self.until(Traffic::is_quiet)?;
        }
        Ok(())
    }
}
