//! Small pictures for people to look at; what the model sees is in `naflex.rs`.

use std::borrow::Cow;

use image::RgbImage;

/// The picture at no more than `side` pixels either way.
pub fn preview(pixels: &RgbImage, side: u32) -> Cow<'_, RgbImage> {
    let longest = pixels.width().max(pixels.height());
    if longest <= side {
        return Cow::Borrowed(pixels);
    }
    let scaled = |length: u32| ((u64::from(length) * u64::from(side)).div_ceil(u64::from(longest)) as u32).max(1);
    Cow::Owned(image::imageops::thumbnail(pixels, scaled(pixels.width()), scaled(pixels.height())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_fits_and_no_side_vanishes() {
        for ([width, height], expected) in [([640, 480], [320, 240]), ([320, 10], [320, 10]), ([4_000, 1], [320, 1]), ([10, 641], [5, 320])]
        {
            let small = preview(&RgbImage::new(width, height), 320).into_owned();
            assert_eq!([small.width(), small.height()], expected);
        }
    }
}
