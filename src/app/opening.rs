//! A start that does not hold a page up.

use crate::platform::Stopwatch;

/// Seconds of a frame after which what is new in it waits for the next one.
const BUDGET_SECS: f64 = 0.008;

/// How much of the interface is shown while it is shown for the first time. Letters are drawn, and a page's functions compiled, when they are first
/// needed; all of them in one frame would hold a page up.
pub(super) struct Opening {
    frame: Stopwatch,
    /// Parts that have been shown in some frame.
    shown: usize,
    /// Parts that have asked for their turn in this frame.
    asked: usize,
    /// Whether this frame has shown one that is new.
    has_grown: bool,
    /// In the first frame the interface's library has enough to do.
    is_first: bool,
    is_over: bool,
}

impl Opening {
    pub(super) fn new() -> Self {
        Self { frame: Stopwatch::start(), shown: 0, asked: 0, has_grown: false, is_first: true, is_over: false }
    }

    /// Begins a frame.
    pub(super) fn begin(&mut self) {
        self.is_first = self.asked == 0;
        (self.frame, self.asked, self.has_grown) = (Stopwatch::start(), 0, false);
    }

    /// Whether the next part of the interface is shown; they ask in the same order in every frame.
    pub(super) fn has_turn(&mut self) -> bool {
        self.asked += 1;
        let is_new = self.asked == self.shown + 1 && !self.is_first && (!self.has_grown || self.frame.elapsed_secs() < BUDGET_SECS);
        if is_new {
            (self.shown, self.has_grown) = (self.asked, true);
        }
        self.is_over || self.asked <= self.shown
    }

    /// Ends a frame; says whether another one is needed.
    pub(super) fn end(&mut self) -> bool {
        self.is_over |= self.asked == self.shown;
        !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_shows_something_more_until_all_is_shown() {
        let mut opening = Opening::new();
        opening.begin();
        assert!(!opening.has_turn(), "the first frame is the library's");
        let mut before = 0;
        for frame in 1..=10 {
            opening.begin();
            let shown = (0..10).filter(|_| opening.has_turn()).count();
            assert!(shown > before || before == 10, "frame {frame} shows {shown} parts after {before}");
            before = shown;
            opening.end();
        }
        assert_eq!(before, 10);
        opening.begin();
        assert!((0..100).all(|_| opening.has_turn()), "a workspace of more parts is whole at once");
    }
}
