//! Masks as COCO's run-length encoding, in the compressed string form of `pycocotools`: runs of zeros and ones in turn, down the columns,
//! each written in 5-bit digits as the difference from the run two before.

use serde::{Deserialize, Serialize};

/// A binary mask over a whole image. As a JSON object it is what `pycocotools.mask.decode` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Height and width.
    pub size: [usize; 2],
    /// The runs.
    pub counts: String,
}

impl Mask {
    /// Encodes the pixels (y, x) for which `inside` holds.
    pub fn encode(height: usize, width: usize, inside: impl Fn(usize, usize) -> bool) -> Self {
        let (mut runs, mut current, mut length) = (Vec::new(), false, 0i64);
        for x in 0..width {
            for y in 0..height {
                if inside(y, x) != current {
                    runs.push(length);
                    (current, length) = (!current, 0);
                }
                length += 1;
            }
        }
        runs.push(length);
        // The first three runs are written as they are.
        let before = |i: usize| if i > 2 { runs[i - 2] } else { 0 };
        let digits = runs.iter().enumerate().flat_map(|(i, run)| Digits(Some(run - before(i))));
        Self { size: [height, width], counts: digits.map(char::from).collect() }
    }

    /// Whether each pixel is inside, row by row; nothing if the runs do not add up to the size.
    pub fn decode(&self) -> Option<Vec<bool>> {
        let [height, width] = self.size;
        let mut pixels = vec![false; height.checked_mul(width)?];
        let (mut runs, mut at) = (Vec::<i64>::new(), 0usize);
        let mut symbols = self.counts.bytes();
        while let Some(difference) = read_number(&mut symbols) {
            let run = difference + if runs.len() > 2 { *runs.get(runs.len() - 2)? } else { 0 };
            let end = at.checked_add(usize::try_from(run).ok()?)?;
            if end > pixels.len() {
                return None;
            }
            if runs.len() % 2 == 1 {
                (at..end).for_each(|i| pixels[i % height * width + i / height] = true);
            }
            runs.push(run);
            at = end;
        }
        (at == pixels.len()).then_some(pixels)
    }
}

/// The symbols of one number, low digits first; bit 5 says that more follow, bit 4 of the last is the sign.
struct Digits(Option<i64>);

impl Iterator for Digits {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let value = self.0?;
        let (digit, rest) = (value & 0x1f, value >> 5);
        let more = if digit & 0x10 == 0 { rest != 0 } else { rest != -1 };
        self.0 = more.then_some(rest);
        Some((digit | if more { 0x20 } else { 0 }) as u8 + 48)
    }
}

fn read_number(symbols: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let (mut value, mut shift) = (0i64, 0u32);
    loop {
        let digit = i64::from(symbols.next()?.checked_sub(48)?);
        value |= digit.checked_shl(shift)? & (0x1f << shift);
        shift += 5;
        if digit & 0x20 == 0 {
            let negative = digit & 0x10 != 0;
            return Some(if negative { value | (-1i64 << shift) } else { value });
        }
        if shift > 50 {
            return None;
        }
    }
}
