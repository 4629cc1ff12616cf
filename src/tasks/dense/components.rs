//! Principal components as colours: of one picture, or of several in which one colour means the same; of all patches, or of things alone.

use super::{Map, PatchFeatures, Pca};
use crate::image::Grid;
use crate::tasks::TaskError;

/// Directions in which the patches of some pictures differ most, and how far they reach there.
#[derive(Clone, Debug)]
pub struct Components {
    pca: Pca,
    foreground: Option<Foreground>,
    ranges: Vec<[f32; 2]>,
}

impl Components {
    /// Fits `count` components to the patches of `pictures`. `foreground` first leaves out those behind things and then fits to the rest: the
    /// first component of all patches, cut at its mean, parts things from what surrounds them, as DINOv2's figures do it (Oquab et al.
    /// 2023). What surrounds is the side that most patches along the borders of the pictures are on.
    ///
    /// # Errors
    /// No patches, or pictures of different models.
    pub fn fit(pictures: &[&PatchFeatures], count: usize, foreground: bool) -> Result<Self, TaskError> {
        let width = pictures.first().map_or(0, |picture| picture.width());
        let all: Vec<f32> = pictures.iter().flat_map(|picture| picture.hidden()).copied().collect();
        let foreground = if foreground { Foreground::fit(pictures, &all, width)? } else { None };
        let kept = match &foreground {
            Some(foreground) => {
                let is_thing = foreground.of(&all)?;
                all.chunks_exact(width).zip(is_thing).filter(|(_, is_thing)| *is_thing).flat_map(|(row, _)| row).copied().collect()
            }
            None => all,
        };
        let pca = Pca::fit(&kept, width, count)?;
        let coordinates = pca.project(&kept)?;
        let ranges = (0..count).map(|component| super::render::range(coordinates[component..].iter().step_by(count).copied())).collect();
        Ok(Self { pca, foreground, ranges })
    }

    /// Coordinates of a picture's patches; NaN behind things.
    pub(super) fn map(&self, picture: &PatchFeatures) -> Result<Map, TaskError> {
        let channels = self.ranges.len();
        let mut values = self.pca.project(picture.hidden())?;
        if let Some(foreground) = &self.foreground {
            let is_thing = foreground.of(picture.hidden())?;
            values
                .chunks_exact_mut(channels.max(1))
                .zip(is_thing)
                .filter(|(_, is_thing)| !is_thing)
                .for_each(|(row, _)| row.fill(f32::NAN));
        }
        Ok(Map { grid: picture.grid(), channels, values, ranges: self.ranges.clone() })
    }
}

/// A first component that parts things from what is behind them.
#[derive(Clone, Debug)]
struct Foreground {
    pca: Pca,
    /// Whether things are where the coordinate is positive.
    is_positive: bool,
}

impl Foreground {
    /// Nothing where all patches are alike, which are then neither before nor behind each other.
    fn fit(pictures: &[&PatchFeatures], all: &[f32], width: usize) -> Result<Option<Self>, TaskError> {
        let pca = Pca::fit(all, width, 1)?;
        let coordinates = pca.project(all)?;
        let grids = pictures.iter().flat_map(|picture| is_border(picture.grid()));
        let border: Vec<bool> = grids.zip(&coordinates).filter(|(is_border, _)| *is_border).map(|(_, &x)| x > 0.0).collect();
        let is_positive = 2 * border.iter().filter(|is_positive| **is_positive).count() < border.len();
        let has_things = coordinates.iter().any(|&x| (x > 0.0) == is_positive);
        Ok(has_things.then_some(Self { pca, is_positive }))
    }

    /// Whether each patch is part of a thing.
    fn of(&self, features: &[f32]) -> Result<Vec<bool>, TaskError> {
        Ok(self.pca.project(features)?.iter().map(|&x| (x > 0.0) == self.is_positive).collect())
    }
}

/// Of every patch, whether it touches the border of its picture.
fn is_border(Grid { rows, cols }: Grid) -> impl Iterator<Item = bool> {
    (0..rows * cols).map(move |patch| {
        let (row, col) = (patch / cols, patch % cols);
        row == 0 || col == 0 || row + 1 == rows || col + 1 == cols
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright thing of two kinds in the middle of a dark picture.
    fn picture(rows: usize, cols: usize, brightness: f32) -> PatchFeatures {
        let patch = |patch: usize| {
            let (row, col) = (patch / cols, patch % cols);
            let is_thing = (1..rows - 1).contains(&row) && (1..cols - 1).contains(&col);
            let kind = if col < cols / 2 { 1.0 } else { -1.0 };
            if is_thing { [brightness, kind, 0.0] } else { [0.0, 0.0, 0.01 * patch as f32] }
        };
        PatchFeatures::new(Grid { rows, cols }, (0..rows * cols).flat_map(patch).collect())
    }

    #[test]
    fn things_are_told_from_what_surrounds_them() {
        for brightness in [9.0, -9.0] {
            let picture = picture(4, 6, brightness);
            let map = Components::fit(&[&picture], 1, true).unwrap().map(&picture).unwrap();
            let expected = |patch: usize| match (patch / 6, patch % 6) {
                (1 | 2, 1 | 2) => Some(1.0),
                (1 | 2, 3 | 4) => Some(-1.0),
                _ => None,
            };
            for (patch, value) in map.values.iter().enumerate() {
                assert!(expected(patch).map_or(value.is_nan(), |x: f32| (value - x).abs() < 1e-6), "{:?}", map.values);
            }
            assert_eq!(map.ranges, [[-1.0, 1.0]]);
        }
    }

    #[test]
    fn what_is_all_alike_has_no_foreground() {
        let flat = PatchFeatures::new(Grid { rows: 1, cols: 2 }, vec![1.0; 6]);
        let map = Components::fit(&[&flat], 3, true).unwrap().map(&flat).unwrap();
        assert_eq!(map.values, [0.0; 6]);
    }

    #[test]
    fn one_colour_means_the_same_in_all_pictures() {
        let (near, far) = (picture(4, 6, 9.0), picture(3, 3, 2.0));
        let both = Components::fit(&[&near, &far], 2, false).unwrap();
        let (of_near, of_far) = (both.map(&near).unwrap(), both.map(&far).unwrap());
        assert_eq!(of_near.ranges, of_far.ranges);
        let middle = of_far.values[4 * 2];
        let [low, high] = of_near.ranges[0];
        assert!(low < middle && middle < high && (high - middle) > 0.5 * (high - low), "{middle} in {low} to {high}");
    }
}
