//! A part of a file of the hub, in a file of its own in the browser's storage: it grows until all of it is there, over as many visits as that takes.

use std::ops::Range;

use js_sys::Uint8Array;
use polyglance::engine::{Failure, FailureKind};

use super::request::{Answer, Meter, Question, Trouble, again_after, check_status, network};
use crate::opfs::{Folder, Writer};

/// Progress that makes earlier failures forgotten.
const PROGRESS: u64 = 1 << 20;

/// Which bytes of a file, and how the file with them is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) range: Range<u64>,
}

impl Part {
    pub(crate) fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// A part that is being downloaded.
pub(crate) struct Download {
    part: Part,
    /// The file that it is of, in words.
    name: String,
    url: String,
    /// Of the whole file.
    size: u64,
    writer: Writer,
    /// Bytes that are there.
    at: u64,
    /// What was under way when it was stopped.
    question: Option<Question>,
    answer: Option<Answer>,
    /// In a row, without progress since there were `best` bytes.
    failures: u32,
    best: u64,
}

impl Download {
    /// Goes on with what an earlier visit left, if anything.
    pub(crate) async fn begin(folder: &Folder, part: Part, name: &str, url: String, size: u64) -> Result<Self, Failure> {
        let writer = folder.writer(&part.name).await?;
        let at = writer.len()?;
        let name = name.to_owned();
        Ok(Self { part, name, url, size, writer, at, question: None, answer: None, failures: 0, best: at })
    }

    /// Bytes that are there.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Fetches what is missing, with retries. If it is stopped, another call goes on.
    ///
    /// # Errors
    /// It was stopped, or the network, the hub or the storage fails for good.
    pub(crate) async fn finish(&mut self, meter: &mut Meter<'_, '_>) -> Result<(), Failure> {
        while let Err(trouble) = self.fill(meter).await {
            if self.at >= self.best + PROGRESS {
                (self.failures, self.best) = (0, self.at);
            }
            let at = self.at;
            let again = again_after(trouble, &mut self.failures, &mut || meter.at(at)).await;
            if again.as_ref().is_err_and(|failure| failure.kind != FailureKind::Cancelled) {
                // Whoever asks for it again begins anew.
                self.failures = 0;
            }
            again?;
        }
        Ok(())
    }

    async fn fill(&mut self, meter: &mut Meter<'_, '_>) -> Result<(), Trouble> {
        if self.at > self.part.bytes() {
            self.start_over()?;
        }
        meter.at(self.at)?;
        if self.at < self.part.bytes() {
            let mut answer = match self.answer.take() {
                Some(answer) => answer,
                None => self.ask(meter).await?,
            };
            let copied = self.copy(&mut answer, meter).await;
            if copied.as_ref().is_err_and(Trouble::is_stop) {
                self.answer = Some(answer);
            }
            copied?;
        }
        Ok(self.writer.flush()?)
    }

    /// An answer that can be put behind what is there.
    async fn ask(&mut self, meter: &mut Meter<'_, '_>) -> Result<Answer, Trouble> {
        let at = self.at;
        let missing = self.part.range.start + at..self.part.range.end;
        let is_whole_file = missing == (0..self.size);
        let range = (!is_whole_file).then_some(&missing);
        let question = match self.question.take() {
            Some(question) => question,
            None => Question::send(&self.url, range, &self.name)?,
        };
        let response = match question.head(&self.name, &mut || meter.at(at)).await {
            Ok(response) => response,
            Err(trouble) => {
                self.question = trouble.is_stop().then_some(question);
                return Err(trouble);
            }
        };
        let answer = question.answered(response);
        let has_whole_file = answer.response.status() == 200 && self.part.range == (0..self.size);
        if has_whole_file || answer.is_range(&missing, Some(self.size)) {
            if has_whole_file {
                // Whatever was asked for.
                self.start_over()?;
            }
            return Ok(answer);
        }
        let name = self.name.clone();
        let wrong = || Trouble::Passing(network(&format!("{name}: the hub sends another part than was asked for")));
        // Where nothing is left to give, or something else is given, what is there may be wrong; other errors say nothing about that.
        if matches!(answer.response.status(), 200..=299 | 416) {
            self.start_over()?;
            return Err(wrong());
        }
        Err(check_status(&answer.response, &self.name).err().unwrap_or_else(wrong))
    }

    async fn copy(&mut self, answer: &mut Answer, meter: &mut Meter<'_, '_>) -> Result<(), Trouble> {
        loop {
            let at = self.at;
            let piece = answer.next(&self.name, &mut || meter.at(at)).await?;
            let length = piece.as_ref().map_or(0, Uint8Array::length);
            if at + u64::from(length) > self.part.bytes() || (piece.is_none() && at < self.part.bytes()) {
                let message = format!("{}: {} of {} bytes arrived", self.name, at + u64::from(length), self.part.bytes());
                if length > 0 {
                    self.start_over()?;
                }
                return Err(Trouble::Passing(network(&message)));
            }
            let Some(piece) = piece else { return Ok(()) };
            self.writer.write(&piece, at)?;
            self.at += u64::from(length);
            meter.at(self.at)?;
        }
    }

    fn start_over(&mut self) -> Result<(), Failure> {
        self.at = 0;
        self.answer = None;
        self.writer.truncate(0)
    }
}

/// A file of the hub in one part.
pub(crate) fn whole(name: &str, size: u64) -> Part {
    Part { name: name.to_owned(), range: 0..size }
}

/// A file of the hub in three parts, of which the second is `middle`.
pub(crate) fn split(name: &str, size: u64, middle: &Range<u64>) -> [Part; 3] {
    let part = |ending: &str, range| Part { name: format!("{name}.{ending}"), range };
    [part("before", 0..middle.start), part("table", middle.clone()), part("after", middle.end..size)]
}
