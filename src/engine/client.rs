//! The app's end: requests out, replies in, and a new engine in place of one that died.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::protocol::{AddImage, Failure, FailureKind, Job, News, OpenModel, PROTOCOL, Reply, Request};

/// Carries messages to an engine and back. None of its calls wait.
pub trait Transport {
    /// Starts an engine of this generation, in place of the one before.
    fn start(&mut self, generation: u32);

    /// Sends a request to the engine that was started last.
    fn send(&mut self, request: Request);

    /// What has come in since the last call.
    fn receive(&mut self) -> Vec<Incoming>;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn start(&mut self, generation: u32) {
        (**self).start(generation);
    }

    fn send(&mut self, request: Request) {
        (**self).send(request);
    }

    fn receive(&mut self) -> Vec<Incoming> {
        (**self).receive()
    }
}

/// From a transport.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The engine says something.
    Reply(Reply),
    /// The engine of this generation is gone, for the reason given.
    Died {
        /// Which one.
        generation: u32,
        /// What is known of it.
        reason: String,
    },
}

/// A connection to an engine that comes back when it dies.
pub struct Client<T> {
    transport: T,
    generation: u32,
    /// How far the engine of this generation is.
    state: State,
    next_id: u64,
    /// The model that is open or being opened, and the request that asked for it.
    open: Option<OpenModel>,
    /// Pictures that the engine has, for the next one.
    images: BTreeMap<u64, (AddImage, Arc<Vec<u8>>)>,
    pending: BTreeMap<u64, Pending>,
    replies: Vec<Reply>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    /// It died before it had said a word, and another would as well: none is started until there is something to do.
    Gone,
}

/// A job under way.
struct Pending {
    job: Job,
    bulk: Arc<Vec<u8>>,
    /// Engines that died over it.
    deaths: u32,
}

impl<T: Transport> Client<T> {
    /// Starts an engine.
    pub fn new(mut transport: T) -> Self {
        transport.start(0);
        let (images, pending) = (BTreeMap::new(), BTreeMap::new());
        Self { transport, generation: 0, state: State::Starting, next_id: 1, open: None, images, pending, replies: Vec::new() }
    }

    /// Sends a job off; replies carry the number that this gives.
    pub fn send(&mut self, job: Job, bulk: Vec<u8>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let bulk = Arc::new(bulk);
        if self.state == State::Gone {
            self.start_another();
        }
        self.deliver(id, &job, &bulk);
        match &job {
            Job::Cancel { .. } => return id,
            Job::Open(request) => self.open = Some(request.clone()),
            Job::AddImage(request) => drop(self.images.insert(request.image, (*request, Arc::clone(&bulk)))),
            Job::DropImage { image } => drop(self.images.remove(image)),
            Job::Classify(_) | Job::EmbedImage(_) | Job::EmbedTexts { .. } | Job::View(_) | Job::Tokenize { .. } => {}
            Job::FetchTable | Job::Stored | Job::DeleteStored { .. } => {}
            Job::Collections | Job::Index { .. } | Job::Search(_) | Job::Alike { .. } | Job::Plane { .. } => {}
            Job::Arrange { .. } | Job::Thumbnails { .. } | Job::Look { .. } | Job::DeleteCollection { .. } => {}
        }
        self.pending.insert(id, Pending { job, bulk, deaths: 0 });
        id
    }

    /// Asks for a job to be stopped. It still answers: as cancelled, or with what it came to if that was sooner.
    pub fn cancel(&mut self, job: u64) {
        if self.pending.contains_key(&job) {
            self.send(Job::Cancel { job }, Vec::new());
        }
    }

    /// Jobs that have not answered, other than those that give way.
    pub fn busy(&self) -> usize {
        self.pending.values().filter(|pending| !pending.job.gives_way()).count()
    }

    /// What has come in. After the death of an engine, another one is told what that one knew.
    pub fn receive(&mut self) -> Vec<Reply> {
        for incoming in self.transport.receive() {
            match incoming {
                Incoming::Reply(reply) if reply.generation == self.generation => self.take(reply),
                Incoming::Died { generation, reason } if generation == self.generation => self.died(&reason),
                // From an engine that is no more.
                Incoming::Reply(_) | Incoming::Died { .. } => {}
            }
        }
        std::mem::take(&mut self.replies)
    }

    fn take(&mut self, reply: Reply) {
        self.state = State::Running;
        match &reply.news {
            News::Greeting { protocol, version } if *protocol != PROTOCOL => {
                let message = format!("the page and its worker are of different versions (the worker is {version}); reload the page");
                let failed = self.failed(reply.id, FailureKind::Crashed, message);
                return self.replies.push(failed);
            }
            News::Failed(_) => self.disown(reply.id),
            _ => {}
        }
        let is_answer = reply.news.is_last();
        // An answer to a repetition, or to a job that was given up, is nobody's.
        let is_expected = matches!(reply.news, News::Greeting { .. }) || self.pending.contains_key(&reply.id);
        if is_answer {
            self.pending.remove(&reply.id);
        }
        if is_expected {
            self.replies.push(reply);
        }
    }

    /// What failed was not taken over by the engine.
    fn disown(&mut self, id: u64) {
        match self.pending.get(&id).map(|pending| &pending.job) {
            Some(Job::Open(request)) if self.open.as_ref() == Some(request) => self.open = None,
            Some(Job::AddImage(request)) => drop(self.images.remove(&request.image)),
            _ => {}
        }
    }

    fn died(&mut self, reason: &str) {
        if self.state == State::Starting {
            self.state = State::Gone;
            while let Some((&id, _)) = self.pending.first_key_value() {
                self.give_up(id, format!("the engine could not be started ({reason})"));
            }
            return;
        }
        // Jobs are done in order, so that the first was at work. Those behind it are not to blame.
        if let Some((&id, suspect)) = self.pending.iter_mut().next() {
            suspect.deaths += 1;
            if suspect.deaths > 1 {
                self.give_up(id, format!("the engine stopped working twice over this ({reason}); it was started again, for other jobs"));
            }
        }
        self.start_another();
    }

    fn give_up(&mut self, id: u64, message: String) {
        self.disown(id);
        self.pending.remove(&id);
        let failed = self.failed(id, FailureKind::Crashed, message);
        self.replies.push(failed);
    }

    /// Starts an engine and tells it what the one before knew.
    fn start_another(&mut self) {
        self.generation += 1;
        self.state = State::Starting;
        self.transport.start(self.generation);
        // What is being asked for is asked for below; the rest is told again under a number that nobody waits for.
        let asked = |wanted: &dyn Fn(&Job) -> bool| self.pending.values().any(|pending| wanted(&pending.job));
        let open =
            self.open.clone().filter(|_| !asked(&|job| matches!(job, Job::Open(_)))).map(|open| (0, Job::Open(open), Arc::default()));
        let images =
            self.images.values().filter(|(image, _)| !asked(&|job| matches!(job, Job::AddImage(other) if other.image == image.image)));
        let images = images.map(|(image, bulk)| (0, Job::AddImage(*image), Arc::clone(bulk)));
        let pending = self.pending.iter().map(|(id, pending)| (*id, pending.job.clone(), Arc::clone(&pending.bulk)));
        let again: Vec<(u64, Job, Arc<Vec<u8>>)> = open.into_iter().chain(images).chain(pending).collect();
        for (id, job, bulk) in again {
            self.deliver(id, &job, &bulk);
        }
    }

    fn failed(&self, id: u64, kind: FailureKind, message: String) -> Reply {
        Reply { id, generation: self.generation, news: News::Failed(Failure { kind, message }), bulk: Vec::new() }
    }

    fn deliver(&mut self, id: u64, job: &Job, bulk: &Arc<Vec<u8>>) {
        let request = Request { id, generation: self.generation, job: job.clone(), bulk: bulk.to_vec() };
        self.transport.send(request);
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{ImageForm, ModelSource};
    use super::*;

    /// Keeps what is sent, and says what it is told to.
    #[derive(Default)]
    struct Script {
        started: Vec<u32>,
        sent: Vec<Request>,
        incoming: Vec<Incoming>,
    }

    impl Transport for Script {
        fn start(&mut self, generation: u32) {
            self.started.push(generation);
        }

        fn send(&mut self, request: Request) {
            self.sent.push(request);
        }

        fn receive(&mut self) -> Vec<Incoming> {
            std::mem::take(&mut self.incoming)
        }
    }

    fn open() -> Job {
        Job::Open(OpenModel { source: ModelSource::Demo, device: "cpu".to_owned(), precision: "auto".to_owned() })
    }

    fn add(image: u64) -> Job {
        Job::AddImage(AddImage { image, form: ImageForm::File, preview_side: 0 })
    }

    fn tokenize() -> Job {
        Job::Tokenize { texts: vec!["a cat".to_owned()] }
    }

    fn answer(client: &mut Client<Script>, id: u64, news: News) -> Vec<Reply> {
        let reply = Reply { id, generation: client.generation, news, bulk: Vec::new() };
        client.transport.incoming.push(Incoming::Reply(reply));
        client.receive()
    }

    /// The death of an engine that runs.
    fn die(client: &mut Client<Script>) -> Vec<Reply> {
        answer(client, 0, News::Greeting { protocol: PROTOCOL, version: String::new() });
        die_at_once(client)
    }

    fn die_at_once(client: &mut Client<Script>) -> Vec<Reply> {
        let generation = client.generation;
        client.transport.sent.clear();
        client.transport.incoming.push(Incoming::Died { generation, reason: "a bug".to_owned() });
        client.receive()
    }

    #[test]
    fn a_new_engine_learns_what_the_old_one_knew_and_goes_on() {
        let mut client = Client::new(Script::default());
        let opened = client.send(open(), Vec::new());
        let kept = client.send(add(7), vec![1, 2]);
        let dropped = client.send(add(8), vec![3]);
        for id in [opened, kept, dropped] {
            assert_eq!(answer(&mut client, id, News::Done).len(), 1);
        }
        let drop_it = client.send(Job::DropImage { image: 8 }, Vec::new());
        answer(&mut client, drop_it, News::Done);
        let waiting = client.send(tokenize(), Vec::new());
        assert!(die(&mut client).is_empty());
        let sent: Vec<_> =
            client.transport.sent.iter().map(|request| (request.id, request.generation, &request.job, request.bulk.len())).collect();
        assert_eq!(sent, [(0, 1, &open(), 0), (0, 1, &add(7), 2), (waiting, 1, &tokenize(), 0)]);
        assert_eq!(client.transport.started, [0, 1]);
        // Answers to what was told again are nobody's.
        assert!(answer(&mut client, 0, News::Done).is_empty());
        assert_eq!(answer(&mut client, waiting, News::Texts(Vec::new())).len(), 1);
        assert_eq!(client.busy(), 0);
    }

    #[test]
    fn a_job_that_kills_two_engines_is_given_up_and_those_behind_it_are_not() {
        let mut client = Client::new(Script::default());
        let (deadly, behind) = (client.send(tokenize(), Vec::new()), client.send(tokenize(), Vec::new()));
        assert!(die(&mut client).is_empty());
        let replies = die(&mut client);
        assert!(
            matches!(&replies[..], [Reply { id, news: News::Failed(failure), .. }] if *id == deadly && failure.kind == FailureKind::Crashed)
        );
        assert_eq!(client.transport.sent.iter().map(|request| request.id).collect::<Vec<_>>(), [behind]);
        assert_eq!(answer(&mut client, behind, News::Done).len(), 1);
    }

    #[test]
    fn an_engine_that_does_not_start_is_not_started_for_ever() {
        let mut client = Client::new(Script::default());
        let lost = [client.send(open(), Vec::new()), client.send(tokenize(), Vec::new())];
        let replies = die_at_once(&mut client);
        assert_eq!(replies.iter().map(|reply| reply.id).collect::<Vec<_>>(), lost);
        assert!(matches!(&replies[0].news, News::Failed(failure) if failure.kind == FailureKind::Crashed), "{replies:?}");
        assert_eq!(client.transport.started, [0]);
        // The next job is another try, of itself alone.
        let next = client.send(tokenize(), Vec::new());
        assert_eq!(client.transport.started, [0, 1]);
        assert_eq!(client.transport.sent.iter().map(|request| (request.id, request.generation)).collect::<Vec<_>>(), [(next, 1)]);
    }

    #[test]
    fn words_from_an_engine_that_is_gone_are_not_heard() {
        let mut client = Client::new(Script::default());
        let id = client.send(tokenize(), Vec::new());
        die(&mut client);
        let late = Reply { id, generation: 0, news: News::Done, bulk: Vec::new() };
        client.transport.incoming = vec![Incoming::Reply(late), Incoming::Died { generation: 0, reason: String::new() }];
        assert!(client.receive().is_empty());
        assert_eq!((client.busy(), client.generation), (1, 1));
    }

    #[test]
    fn a_worker_of_another_version_is_not_talked_to() {
        let mut client = Client::new(Script::default());
        let greeting = News::Greeting { protocol: PROTOCOL + 1, version: "9.9".to_owned() };
        let replies = answer(&mut client, 0, greeting);
        assert!(matches!(&replies[..], [Reply { news: News::Failed(failure), .. }] if failure.message.contains("9.9")));
    }

    #[test]
    fn what_failed_is_not_told_to_the_next_engine() {
        let mut client = Client::new(Script::default());
        let (opened, added) = (client.send(open(), Vec::new()), client.send(add(1), Vec::new()));
        for id in [opened, added] {
            answer(&mut client, id, News::Failed(Failure::new(FailureKind::Input, "no")));
        }
        die(&mut client);
        assert!(client.transport.sent.is_empty());
    }
}
