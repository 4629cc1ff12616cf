//! A scene of emoji: what is where, as people arrange it and as a link carries it.

use std::fmt::Write;

/// Widest and narrowest frame, width over height.
pub(super) const MAX_ASPECT: f32 = 4.0;
/// Least and greatest side of an emoji, as a share of the side of a square of the frame's area.
pub(super) const SIZES: [f32; 2] = [0.12, 1.0];
/// More would hide each other, and make a link too long to share.
pub(super) const MAX_ITEMS: usize = 16;

/// One or more emoji on a background.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scene {
    /// Width over height.
    pub(super) aspect: f32,
    /// Number of the background.
    pub(super) background: usize,
    /// The last lies on top.
    pub(super) items: Vec<Item>,
}

/// An emoji and its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    /// Place on the palette.
    pub(super) emoji: usize,
    /// Centre, as shares of the frame's width and height.
    pub(super) center: [f32; 2],
    /// Side, as a share of the side of a square of the frame's area: an emoji keeps its size when the frame is pulled.
    pub(super) size: f32,
    /// Clockwise, in radians.
    pub(super) angle: f32,
}

impl Scene {
    /// Puts an emoji on top, unless the scene is full.
    pub(super) fn add(&mut self, emoji: usize, center: [f32; 2]) -> bool {
        let has_room = self.items.len() < MAX_ITEMS;
        if has_room {
            self.items.push(Item { emoji, center: center.map(|place| place.clamp(0.0, 1.0)), size: 0.36, angle: 0.0 });
        }
        has_room
    }

    /// Sides of the frame whose area is 1: width and height.
    pub(super) fn sides(&self) -> [f32; 2] {
        [self.aspect.sqrt(), 1.0 / self.aspect.sqrt()]
    }

    /// The topmost item at a place, given as shares of the frame's width and height.
    pub(super) fn item_at(&self, place: [f32; 2]) -> Option<usize> {
        let [width, height] = self.sides();
        let is_hit = |item: &Item| {
            let [dx, dy] = [(place[0] - item.center[0]) * width, (place[1] - item.center[1]) * height];
            dx.hypot(dy) <= item.size / 2.0
        };
        self.items.iter().rposition(is_hit)
    }

    /// As part of a link: `1.50,2;🐱,0.50,0.50,0.36,0.00;…` with the emoji's characters from the palette.
    pub(super) fn to_link(&self, emoji_of: impl Fn(usize) -> String) -> String {
        let mut link = format!("{:.2},{}", self.aspect, self.background);
        for Item { emoji, center: [x, y], size, angle } in &self.items {
            let _ = write!(link, ";{},{x:.2},{y:.2},{size:.2},{angle:.2}", emoji_of(*emoji));
        }
        link
    }

    /// Reads what [`Self::to_link`] wrote. What is no scene gives nothing; single items that are unknown are left out.
    pub(super) fn from_link(link: &str, place_of: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        let mut parts = link.split(';');
        let (aspect, background) = parts.next()?.split_once(',')?;
        let aspect = number(aspect, [1.0 / MAX_ASPECT, MAX_ASPECT])?;
        let items = parts.filter_map(|part| item(part, &place_of)).take(MAX_ITEMS).collect();
        Some(Self { aspect, background: background.parse().ok()?, items })
    }
}

impl Item {
    /// Moves it by shares of the frame's width and height; its centre stays within.
    pub(super) fn shift(&mut self, by: [f32; 2]) {
        self.center.iter_mut().zip(by).for_each(|(center, by)| *center = (*center + by).clamp(0.0, 1.0));
    }

    /// Makes it larger or smaller, within [`SIZES`].
    pub(super) fn scale(&mut self, factor: f32) {
        self.size = (self.size * factor).clamp(SIZES[0], SIZES[1]);
    }
}

fn item(part: &str, place_of: impl Fn(&str) -> Option<usize>) -> Option<Item> {
    let mut fields = part.split(',');
    let emoji = place_of(fields.next()?)?;
    let mut next = |range| number(fields.next()?, range);
    let center = [next([0.0, 1.0])?, next([0.0, 1.0])?];
    Some(Item { emoji, center, size: next(SIZES)?, angle: next([-10.0, 10.0])? })
}

fn number(text: &str, [least, greatest]: [f32; 2]) -> Option<f32> {
    text.parse().ok().filter(|number: &f32| number.is_finite()).map(|number| number.clamp(least, greatest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["🐱", "☂️", "🔑"];

    fn place_of(emoji: &str) -> Option<usize> {
        NAMES.iter().position(|name| *name == emoji)
    }

    #[test]
    fn a_scene_survives_its_link() {
        let mut scene = Scene { aspect: 1.5, background: 2, items: Vec::new() };
        for emoji in 0..3 {
            assert!(scene.add(emoji, [0.25, 0.75]));
        }
        scene.items[1].angle = -0.5;
        let link = scene.to_link(|emoji| NAMES[emoji].to_owned());
        assert_eq!(Scene::from_link(&link, place_of), Some(scene));
    }

    #[test]
    fn links_from_strangers_make_no_monsters() {
        for link in ["", "1.5", "x,0", "NaN,0", "inf,1", "1,-1", "1,99999999999999999999999"] {
            assert_eq!(Scene::from_link(link, place_of), None, "{link}");
        }
        let scene = Scene::from_link("900,1;🐱,5,-5,99,NaN;🐱,5,-5,99,0;nobody,0,0,0,0;🔑", place_of).unwrap();
        assert_eq!(scene.aspect, MAX_ASPECT);
        assert_eq!(scene.items, [Item { emoji: 0, center: [1.0, 0.0], size: 1.0, angle: 0.0 }]);
        let crowd = format!("1,0{}", ";🐱,0.5,0.5,0.3,0".repeat(1000));
        assert_eq!(Scene::from_link(&crowd, place_of).unwrap().items.len(), MAX_ITEMS);
    }

    #[test]
    fn the_topmost_item_is_hit_where_it_is_seen() {
        let mut scene = Scene { aspect: 4.0, background: 0, items: Vec::new() };
        scene.add(0, [0.5, 0.5]);
        scene.add(1, [0.5, 0.5]);
        assert_eq!(scene.item_at([0.5, 0.5]), Some(1));
        // The frame is 2 wide and 0.5 high: a tenth of the width is 0.2, of the height 0.05.
        assert_eq!((scene.item_at([0.58, 0.5]), scene.item_at([0.61, 0.5]), scene.item_at([0.5, 0.8])), (Some(1), None, Some(1)));
    }
}
