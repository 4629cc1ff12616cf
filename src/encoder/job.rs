//! One request to a tower, cut into runs that fit the device.

use std::ops::Range;

use super::plan::Plan;
use super::weights::WeightSpec;
use super::{HiddenLayer, TextTower, VisionTower};
use crate::kernels::Counts;

/// Which tower a job runs, and what it asks of its plan.
#[derive(Clone, Copy)]
pub(super) enum Tower<'a> {
    Vision {
        tower: &'a VisionTower,
        hidden: Option<HiddenLayer>,
    },
    /// The vision tower's pooling head alone.
    Head(&'a VisionTower),
    Text(&'a TextTower),
}

impl Tower<'_> {
    pub(super) fn plan(&self, capacity: Counts) -> Plan {
        match self {
            Self::Vision { tower, hidden } => tower.plan(capacity, *hidden),
            Self::Head(tower) => tower.head_plan(capacity),
            Self::Text(tower) => tower.plan(capacity),
        }
    }

    pub(super) fn specs(&self) -> &[WeightSpec] {
        match self {
            Self::Vision { tower, .. } | Self::Head(tower) => tower.specs(),
            Self::Text(tower) => tower.specs(),
        }
    }

    /// Where a device keeps this tower's weights.
    pub(super) const fn index(&self) -> usize {
        match self {
            Self::Vision { .. } | Self::Head(_) => 0,
            Self::Text(_) => 1,
        }
    }
}

/// A batch for a tower. Every input and output has whole rows per token or per segment, so any range of segments is a job of its own.
pub(super) struct Job<'a> {
    pub(super) tower: Tower<'a>,
    pub(super) offsets: &'a [u32],
    /// By buffer name; one row per token.
    pub(super) inputs: &'a [(&'static str, &'a [f32])],
    /// By buffer name.
    pub(super) outputs: &'a [&'static str],
}

impl<'a> Job<'a> {
    pub(super) fn segments(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Consecutive ranges of segments with at most `max_tokens` tokens each. A segment that is longer gets a range of its own.
    pub(super) fn ranges(&self, max_tokens: usize) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut start = 0;
        for segment in 0..self.segments() {
            let tokens = (self.offsets[segment + 1] - self.offsets[start]) as usize;
            if tokens > max_tokens && segment > start {
                ranges.push(start..segment);
                start = segment;
            }
        }
        if start < self.segments() {
            ranges.push(start..self.segments());
        }
        ranges
    }

    /// The tokens of some segments.
    pub(super) fn tokens(&self, segments: &Range<usize>) -> Range<usize> {
        self.offsets[segments.start] as usize..self.offsets[segments.end] as usize
    }

    /// Offsets of some segments, counted from the first.
    pub(super) fn offsets_within(&self, segments: &Range<usize>) -> Vec<u32> {
        let first = self.offsets[segments.start];
        self.offsets[segments.start..=segments.end].iter().map(|&offset| offset - first).collect()
    }

    /// An input's rows of some tokens.
    pub(super) fn rows(&self, values: &'a [f32], tokens: &Range<usize>) -> &'a [f32] {
        let total = self.offsets.last().map_or(0, |&end| end as usize);
        let cols = values.len() / total.max(1);
        &values[tokens.start * cols..tokens.end * cols]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    #[test]
    fn ranges_respect_the_budget_and_lose_nothing() {
        let text = TextTower::new(&PRESETS[0].config.text);
        let offsets = [0, 10, 30, 31, 100, 101, 102];
        let job = Job { tower: Tower::Text(&text), offsets: &offsets, inputs: &[], outputs: &[] };
        assert_eq!(job.ranges(31), vec![0..3, 3..4, 4..6]);
        assert_eq!(job.ranges(1000), vec![0..6]);
        assert_eq!(job.ranges(1), vec![0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
    }
}
