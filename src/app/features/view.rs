//! The choice of views, and how each becomes colours or a file.

use super::super::labels::{Labels, alone};
use super::super::strings::Text;
use crate::engine::ViewOf;
use crate::tasks::dense::{Map, Palette};
use crate::tasks::write_npy;

/// What people look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Components,
    Similar,
    Phrase,
    Segment,
    Groups,
    Attention,
}

pub(super) const KINDS: [(Kind, Text, Text); 6] = [
    (Kind::Components, Text::ViewPca, Text::ViewPcaHint),
    (Kind::Similar, Text::ViewSimilar, Text::ViewSimilarHint),
    (Kind::Phrase, Text::ViewPhrase, Text::ViewPhraseHint),
    (Kind::Segment, Text::ViewSegment, Text::ViewSegmentHint),
    (Kind::Groups, Text::ViewGroups, Text::ViewGroupsHint),
    (Kind::Attention, Text::ViewAttention, Text::ViewAttentionHint),
];

impl Kind {
    /// Whether features of a middle layer make sense: the pooling head reads the last one only.
    pub(super) fn has_layers(self) -> bool {
        matches!(self, Self::Components | Self::Similar | Self::Groups)
    }

    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Components => "pca",
            Self::Similar => "similar",
            Self::Phrase => "heatmap",
            Self::Segment => "segment",
            Self::Groups => "kmeans",
            Self::Attention => "attention",
        }
    }
}

/// Everything that can be set.
pub(super) struct Settings {
    pub(super) kind: Kind,
    /// For the view of one phrase.
    pub(super) phrase: String,
    /// For the segmentation.
    pub(super) phrases: Labels,
    pub(super) groups: usize,
    pub(super) head: Option<usize>,
    pub(super) layer: Option<usize>,
    pub(super) budget: Option<usize>,
    pub(super) masks_outliers: bool,
    pub(super) opacity: f32,
    pub(super) is_smooth: bool,
    pub(super) shows_grid: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: Kind::Components,
            phrase: "pizza".to_owned(),
            phrases: Labels::new(["cat face", "pizza", "background"]),
            groups: 4,
            head: None,
            layer: None,
            budget: None,
            masks_outliers: false,
            opacity: 0.65,
            is_smooth: true,
            shows_grid: false,
        }
    }
}

impl Settings {
    /// The view as the engine knows it; `patch` is what the pointer is at. Nothing while there is no phrase.
    pub(super) fn view(&self, patch: ViewOf) -> Option<ViewOf> {
        Some(match self.kind {
            Kind::Components => ViewOf::Components(3),
            Kind::Similar => patch,
            Kind::Groups => ViewOf::Groups(self.groups),
            Kind::Attention => ViewOf::Attention,
            Kind::Phrase if self.phrase.trim().is_empty() => return None,
            Kind::Segment if self.phrases.list().is_empty() => return None,
            Kind::Phrase => ViewOf::Phrases(vec![vec![self.phrase.trim().to_owned()]]),
            Kind::Segment => ViewOf::Phrases(alone(self.phrases.list())),
        })
    }
}

/// A view's map as it is coloured: one head alone if one was chosen.
pub(super) fn coloured(view: &ViewOf, map: &Map, head: Option<usize>) -> (Map, Palette) {
    let palette = match view {
        ViewOf::Components(_) | ViewOf::Features => Palette::Rgb,
        ViewOf::Phrases(labels) if labels.len() > 1 => Palette::Largest,
        ViewOf::Similar { .. } | ViewOf::Phrases(_) | ViewOf::Attention => Palette::Heat,
        ViewOf::Groups(_) => Palette::Number,
    };
    match head.filter(|head| *view == ViewOf::Attention && *head < map.channels) {
        Some(head) => {
            let values = map.values.chunks_exact(map.channels).filter_map(|row| row.get(head).copied()).collect();
            (Map { grid: map.grid, channels: 1, values }, palette)
        }
        None => (map.clone(), palette),
    }
}

/// The map as NumPy's file of f32 `[rows, cols, channels]`.
pub(super) fn npy(map: &Map) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    write_npy(&mut file, &[map.grid.rows, map.grid.cols, map.channels], &[&map.values])?;
    Ok(file)
}
