//! Answers of the engine, as panels read them.

use crate::engine::{News, Reply, Scores};
use crate::image::Grid;
use crate::tasks::dense::Map;

/// Values of every patch, and what is known of the features behind them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PatchMap {
    pub(super) map: Map,
    /// Channels of the features that hide the others.
    pub(super) outliers: Vec<usize>,
}

/// Reads an answer to a classification.
pub(super) fn scores(reply: &Reply) -> Option<Scores> {
    if let News::Scores(scores) = &reply.news { Some(scores.clone()) } else { None }
}

/// Reads an answer to a view.
pub(super) fn patch_map(reply: &Reply) -> Option<PatchMap> {
    let News::Map { rows, cols, channels, ranges, outliers } = &reply.news else { return None };
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&reply.bulk);
    let map = Map { grid: Grid { rows: *rows, cols: *cols }, channels: *channels, values, ranges: ranges.clone() };
    (map.values.len() == rows * cols * channels).then(|| PatchMap { map, outliers: outliers.clone() })
}
