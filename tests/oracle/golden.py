"""Draws the three pictures of `polyglance verify` into src/cli/golden/.

They are the pictures of transformers' own integration test of the NaFlex base checkpoint (tests/models/siglip2/test_modeling_siglip2.py):
a blue disc with a green border on red, in three sizes. Its 7 x 3 logits are in src/cli/verify.rs.

Run: python tests/oracle/golden.py     (Pillow; the files were made with Pillow 13.0)
"""

import pathlib

from PIL import Image, ImageDraw

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "src" / "cli" / "golden"
SIZES = [(224, 224), (1024, 1024), (224, 1024)]  # height, width


def draw(height: int, width: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "red")
    x, y = width // 2, height // 2
    radius = min(x, y) // 8 * 7
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="blue", outline="green", width=width // 20)
    return image


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for height, width in SIZES:
        # Few colours: a palette keeps the files tiny and decodes to the same pixels.
        image = draw(height, width)
        palette = image.quantize(colors=4, dither=Image.Dither.NONE)
        assert palette.convert("RGB").tobytes() == image.tobytes()
        palette.save(FOLDER / f"disc_{height}x{width}.png", optimize=True)
