//! Whether a picture is found by a part of it, or by its mirror image.

use image::RgbImage;
use image::imageops::{crop_imm, flip_horizontal};
use serde::Serialize;

use super::EvaluationError;
use super::embedder::{Embedder, Preparation, embed_pictures};
use super::held_out::HeldOut;
use super::ranking::{Embeddings, Recall, ranks};
use crate::random::Stream;

/// What is done to a picture before it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Alteration {
    /// Left and right change places.
    pub flipped: bool,
    /// Sides of the part that is kept, in percent of the picture's. Where it lies differs from picture to picture: left, right or in the middle, and
    /// likewise from top to bottom.
    pub kept_percent: u32,
}

/// Pictures found by what they were altered to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Altered {
    /// How.
    pub alteration: Alteration,
    /// Pictures to choose from, each looked for once.
    pub images: usize,
    /// The picture itself among all.
    pub recall: Recall,
}

/// What is tried.
pub const ALTERATIONS: [Alteration; 5] = [
    Alteration { flipped: true, kept_percent: 100 },
    Alteration { flipped: false, kept_percent: 80 },
    Alteration { flipped: false, kept_percent: 60 },
    Alteration { flipped: false, kept_percent: 40 },
    Alteration { flipped: true, kept_percent: 60 },
];

impl Alteration {
    fn of(self, index: usize, picture: &RgbImage) -> RgbImage {
        let kept = |side: u32| (side * self.kept_percent / 100).max(1);
        let (width, height) = (kept(picture.width()), kept(picture.height()));
        // None, a half or all of the room.
        let place = |room: u32, halves: usize| room * halves as u32 / 2;
        let (x, y) = (place(picture.width() - width, index % 3), place(picture.height() - height, index / 3 % 3));
        let part = crop_imm(picture, x, y, width, height).to_image();
        if self.flipped { flip_horizontal(&part) } else { part }
    }

    fn title(self) -> String {
        let part = if self.kept_percent < 100 { format!("{} % of each side", self.kept_percent) } else { "whole".to_owned() };
        if self.flipped { format!("{part}, flipped") } else { part }
    }
}

impl Altered {
    /// A row of a table: how, pictures, recall.
    pub(super) fn cells(&self) -> (String, usize, &Recall) {
        (self.alteration.title(), self.images, &self.recall)
    }
}

/// Looks for each of the first `count` pictures by what it was altered to.
///
/// # Errors
/// A picture or a model that fails.
pub fn find_altered(
    model: &mut dyn Embedder,
    held_out: &HeldOut,
    count: usize,
    preparation: &Preparation,
    seed: u64,
) -> Result<Vec<Altered>, EvaluationError> {
    let images: Vec<_> = held_out.images.iter().take(count).collect();
    let dim = model.dim();
    let (originals, _) = embed_pictures(model, &images, preparation, |_, picture| picture)?;
    let originals = Embeddings::new(&originals, dim)?;
    let right: Vec<Vec<usize>> = (0..images.len()).map(|index| vec![index]).collect();
    let groups: Vec<usize> = (0..images.len()).collect();
    let find = |alteration: Alteration| {
        let (altered, _) = embed_pictures(model, &images, preparation, |index, picture| alteration.of(index, &picture))?;
        let ranks = ranks(Embeddings::new(&altered, dim)?, originals, &right)?;
        let recall = Recall::new(&ranks, &groups, &right, images.len(), Stream::new(seed, "evaluate/bootstrap"));
        Ok(Altered { alteration, images: images.len(), recall })
    };
    ALTERATIONS.into_iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_where_they_are_said_to() {
        // Red tells the column, green the row.
        let picture = RgbImage::from_fn(10, 20, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let half = Alteration { flipped: false, kept_percent: 50 };
        let corner = |index| half.of(index, &picture).get_pixel(0, 0).0;
        assert_eq!(
            [corner(0), corner(1), corner(2), corner(3), corner(8)].map(|[x, y, _]| [x, y]),
            [[0, 0], [2, 0], [5, 0], [0, 5], [5, 10]]
        );
        assert_eq!(half.of(4, &picture).dimensions(), (5, 10));
        let mirror = Alteration { flipped: true, kept_percent: 100 }.of(7, &picture);
        assert_eq!((mirror.get_pixel(0, 3).0, mirror.dimensions()), ([9, 3, 0], (10, 20)));
    }
}
