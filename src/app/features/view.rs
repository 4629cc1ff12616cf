//! The choice of views, and how each becomes colours or a file.

use super::super::labels::Labels;
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
    /// Components of things alone.
    pub(super) is_foreground: bool,
    /// Components of all pictures together.
    pub(super) shares_colours: bool,
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
            is_foreground: false,
            shares_colours: false,
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
    /// The one phrase, once there is one.
    pub(super) fn phrase(&self) -> Option<&str> {
        Some(self.phrase.trim()).filter(|phrase| !phrase.is_empty())
    }

    /// The phrases of the segmentation, once there are some.
    pub(super) fn phrases(&self) -> Option<&[String]> {
        Some(self.phrases.list()).filter(|phrases| !phrases.is_empty())
    }
}

/// A view's map as it is coloured: one head alone if one was chosen.
pub(super) fn coloured(view: &ViewOf, map: &Map, head: Option<usize>) -> (Map, Palette) {
    let palette = match view {
        ViewOf::Components { .. } | ViewOf::Features => Palette::Rgb,
        ViewOf::Phrases(labels) if labels.len() > 1 => Palette::Largest,
        ViewOf::Similar { .. } | ViewOf::Phrases(_) | ViewOf::Attention => Palette::Heat,
        ViewOf::Groups(_) => Palette::Number,
    };
    match head.filter(|head| *view == ViewOf::Attention && *head < map.channels) {
        Some(head) => {
            let values = map.values.chunks_exact(map.channels).filter_map(|row| row.get(head).copied()).collect();
            (Map { grid: map.grid, channels: 1, values, ranges: Vec::new() }, palette)
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
