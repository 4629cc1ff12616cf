//! Licences and notes that travel with what is made.

/// `README.md` of a shard set.
pub(super) const SHARD_SET: &str = "\
# Emoji world

Scenes of emoji, rendered by `polyglance-trainer synth`, with captions in several languages. `recipe.json` and the program's version say
exactly how; the same recipe, font and names give the same bytes.

| file | content |
|---|---|
| `train/`, `validation/`, `test/` | webdataset shards: `KEY.jpg`, `KEY.txt` (a caption in the first language), `KEY.json` |
| `retrieval/` | scenes of at least two emoji, no two of which show the same things |
| `zero-shot/` | one emoji each, on held-out backgrounds; `classes.json` has the labels in every language |
| `*-second-font/` | the same with pictures of another designer, which training never shows |
| `glyphs.json` | every emoji: names, search words, attributes, and `only_in` for those that one split alone may show |
| `missing.json` | emoji without a picture, without a name in some language, or that share a name with another |
| `report.json` | members, bytes and the duplicate check of each set |

`KEY.json` holds `captions` by language and `regions`: `box` is [y0, x0, y1, x1] of the visible part in pixels, `mask` its pixels in COCO's
compressed run-length form (`pycocotools.mask.decode` reads it), `visible` the share that nothing covers.

Held out of `train/`: pairs of emoji that never meet there, combinations of colour and shape and of skin tone, gender and profession,
combinations of background pattern and colour, and the last two wordings of every language. `validation/` has one set of these, `test/`
and the sets after it another. A scene that repeats one of an earlier split (equal bytes, or the same things with difference hashes at most
3 of 64 bits apart) is drawn anew.

Names stand in the captions as CLDR prints them, in phrases that need no inflection. Numerals and phrases were not checked by native
speakers of every language.

## Licences

- Pictures: Noto Color Emoji, copyright Google LLC, SIL Open Font License 1.1. Images made with a font are not covered by its licence.
- Letters in signs and receipts: Noto Sans, Noto Serif, Noto Sans CJK (SIL Open Font License 1.1), DejaVu Sans (Bitstream Vera licence).
- Names: Unicode CLDR annotations, copyright Unicode, Inc., Unicode License v3.
- `*-second-font/`: the licence of the pictures that were passed as `--second-font` holds. Twemoji: copyright Twitter, Inc. and other
  contributors, CC BY 4.0.
";

/// `LICENSE.md` beside sample scenes.
pub(super) const SAMPLES: &str = "\
# Sample scenes

Rendered by `polyglance-trainer synth samples` from Noto Color Emoji (copyright Google LLC, SIL Open Font License 1.1), with
names from Unicode CLDR annotations (copyright Unicode, Inc., Unicode License v3). `samples.json` names the right label of each image in
every language.
";

/// `LICENSE.md` beside the palette.
pub(super) const PALETTE: &str = "\
# Palette

Pictures: Noto Color Emoji, copyright Google LLC, SIL Open Font License 1.1 (https://openfontlicense.org). Names: Unicode CLDR annotations,
copyright Unicode, Inc., Unicode License v3. Put on one sheet by `polyglance-trainer synth palette`.
";
