//! One thing that a panel wants to know from the engine.

use crate::engine::{Failure, FailureKind, News, Reply};

/// A question whose answer is shown: whenever it changes, it is asked again, and until then the last answer stays.
///
/// An interface that is drawn anew sixty times a second says what it wants each time. Only one question is under way at once: what has
/// changed meanwhile is asked when its answer is in, so that a slow model falls behind by one question, however fast a slider moves.
#[derive(Debug)]
pub(super) struct Wanted<Q, A> {
    pending: Option<(u64, Q)>,
    last: Option<(Q, Result<A, Failure>)>,
}

impl<Q, A> Default for Wanted<Q, A> {
    fn default() -> Self {
        Self { pending: None, last: None }
    }
}

impl<Q: PartialEq, A> Wanted<Q, A> {
    /// Asks, unless the question is under way or answered. `ask` sends it and gives the id of the job.
    pub(super) fn want(&mut self, question: Q, ask: impl FnOnce(&Q) -> u64) {
        if self.pending.is_none() && !self.is_answer_to(&question) {
            let id = ask(&question);
            self.pending = Some((id, question));
        }
    }

    /// Takes what is an answer to the question under way. `read` gives nothing for what it does not expect.
    pub(super) fn hear(&mut self, reply: &Reply, read: impl FnOnce(&Reply) -> Option<A>) -> bool {
        if !reply.news.is_last() || self.pending.as_ref().is_none_or(|(id, _)| *id != reply.id) {
            return false;
        }
        let Some((_, question)) = self.pending.take() else { return false };
        match &reply.news {
            News::Failed(failure) if failure.kind == FailureKind::Cancelled => {}
            News::Failed(failure) => self.last = Some((question, Err(failure.clone()))),
            _ => self.last = read(reply).map(|answer| (question, Ok(answer))),
        }
        true
    }

    /// The last answer, whichever question it was to.
    pub(super) fn answer(&self) -> Option<&A> {
        self.last.as_ref()?.1.as_ref().ok()
    }

    /// The last answer and its question.
    pub(super) fn answered(&self) -> Option<(&Q, &A)> {
        let (question, answer) = self.last.as_ref()?;
        Some((question, answer.as_ref().ok()?))
    }

    /// Why there is no answer.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.last.as_ref()?.1.as_ref().err()
    }

    /// Whether the last answer, good or bad, is to this question.
    pub(super) fn is_answer_to(&self, question: &Q) -> bool {
        self.last.as_ref().is_some_and(|(answered, _)| answered == question)
    }

    /// Whether this question is under way.
    #[cfg_attr(not(feature = "index"), allow(dead_code, reason = "only that workspace asks"))]
    pub(super) fn is_asking(&self, question: &Q) -> bool {
        self.pending.as_ref().is_some_and(|(_, asked)| asked == question)
    }

    /// The job under way.
    pub(super) fn pending(&self) -> Option<u64> {
        self.pending.as_ref().map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: u64, news: News) -> Reply {
        Reply { id, generation: 0, news, bulk: Vec::new() }
    }

    #[test]
    fn one_question_at_a_time_and_the_newest_next() {
        let mut wanted: Wanted<u32, u64> = Wanted::default();
        let mut asked = Vec::new();
        for question in [1, 2, 3] {
            wanted.want(question, |question| {
                asked.push(*question);
                7
            });
        }
        assert_eq!((asked.as_slice(), wanted.pending()), ([1].as_slice(), Some(7)));
        assert!(!wanted.hear(&reply(8, News::Done), |_| Some(0)), "an answer to somebody else");
        assert!(wanted.hear(&reply(7, News::Done), |reply| Some(reply.id)));
        assert_eq!(wanted.answered(), Some((&1, &7)));
        wanted.want(3, |_| 9);
        // The old answer is shown until the new one is in.
        assert_eq!((wanted.answer(), wanted.is_answer_to(&3), wanted.pending()), (Some(&7), false, Some(9)));
        wanted.hear(&reply(9, News::Failed(Failure::new(FailureKind::Input, "no"))), |_| None);
        assert_eq!((wanted.answer(), wanted.failure().map(|failure| failure.message.as_str())), (None, Some("no")));
        wanted.want(3, |_| panic!("what failed is not asked again"));
    }

    #[test]
    fn a_cancelled_question_leaves_the_last_answer() {
        let mut wanted: Wanted<u32, u64> = Wanted::default();
        wanted.want(1, |_| 1);
        wanted.hear(&reply(1, News::Done), |_| Some(5));
        wanted.want(2, |_| 2);
        wanted.hear(&reply(2, News::Failed(Failure::new(FailureKind::Cancelled, "stopped"))), |_| None);
        assert_eq!((wanted.answer(), wanted.pending()), (Some(&5), None));
    }
}
