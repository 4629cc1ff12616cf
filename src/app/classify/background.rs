//! How a label stands among a thousand captions of other things.
//!
//! A sigmoid is often small even for the right label, since training saw far more wrong pairs than right ones. That it is higher than nearly
//! everything else one could say of the picture is the better news.

use super::super::answers::scores;
use super::super::desk::Desk;
use super::super::wanted::Wanted;
use crate::engine::{Classify, Job, Reply};

/// Captions of one job: whoever wants something else meanwhile waits for one of these at most.
const AT_ONCE: usize = 20;

#[derive(Default)]
pub(super) struct Background {
    /// Whether people want it; on its own it is done for a model that is fast everywhere.
    pub(super) is_wanted: Option<bool>,
    part: Wanted<(Subject, usize), Vec<f32>>,
    subject: Option<Subject>,
    /// Logits of the captions, as far as they are known.
    logits: Vec<f32>,
}

/// What the logits depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Subject {
    epoch: u32,
    version: u32,
    image: u64,
    budget: Option<usize>,
    captions: &'static str,
}

impl Background {
    pub(super) fn is_on(&self, desk: &Desk) -> bool {
        self.is_wanted.unwrap_or(desk.model.is_demo())
    }

    /// Asks for the next captions of a picture.
    pub(super) fn ask(&mut self, desk: &mut Desk, image: u64, budget: Option<usize>) {
        if !self.is_on(desk) {
            return;
        }
        let captions = desk.captions();
        let subject = Subject { epoch: desk.model.epoch, version: desk.pictures.version(image), image, budget, captions };
        if self.subject != Some(subject) {
            self.subject = Some(subject);
            self.logits.clear();
        }
        let next: Vec<Vec<String>> =
            captions.lines().skip(self.logits.len()).take(AT_ONCE).map(|caption| vec![caption.to_owned()]).collect();
        // What failed is said beside the scores, which ask the same of the engine.
        if !next.is_empty() && self.part.failure().is_none() {
            let engine = &mut desk.engine;
            self.part.want((subject, self.logits.len()), |_| {
                engine.send(Job::Classify(Classify { image, max_num_patches: budget, labels: next }), Vec::new())
            });
        }
    }

    pub(super) fn hear(&mut self, reply: &Reply) {
        let is_answer = self.part.hear(reply, |reply| scores(reply).map(|scores| scores.logits));
        if is_answer
            && let Some(((subject, start), logits)) = self.part.answered()
            && self.subject == Some(*subject)
            && *start == self.logits.len()
        {
            self.logits.extend(logits);
        }
    }

    /// How many captions have been compared with a picture.
    pub(super) fn progress(&self, image: u64) -> usize {
        if self.subject.is_some_and(|subject| subject.image == image) { self.logits.len() } else { 0 }
    }

    /// The share of the captions that fit the picture less well than a label of this logit does.
    pub(super) fn rank(&self, image: u64, logit: f32) -> Option<f32> {
        let count = self.progress(image);
        let below = self.logits.iter().filter(|other| **other < logit).count();
        (count > 0).then(|| below as f32 / count as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_the_share_of_captions_below() {
        let subject = Subject { epoch: 1, version: 0, image: 7, budget: None, captions: "" };
        let background = Background { logits: vec![-3.0, -2.0, -1.0, 0.0], subject: Some(subject), ..Background::default() };
        assert_eq!((background.rank(7, -0.5), background.rank(7, -9.0), background.rank(8, 0.0)), (Some(0.75), Some(0.0), None));
    }
}
