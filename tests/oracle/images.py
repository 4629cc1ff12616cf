"""Fixtures for tests/images.rs: what transformers, torchvision and Pillow make of the same pixels and files.

Run with transformers 5.23 (torchvision image processors) on a CPU with AVX2, from the repository's root:

    python tests/oracle/images.py

Inputs are not stored where both languages can compute them: pixels and sizes come from a counter-based hash, results are
SHA-256 digests (first 16 hex digits). Decoded files are small and stored with the picture expected of them.
"""

import hashlib
import io
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from transformers import Siglip2ImageProcessor, SiglipImageProcessor
from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches

OUT = Path(__file__).parent / "fixtures" / "images"


def mix(x):
    """A 32-bit integer hash (multiply-xorshift, the constants of hash-prospector's lowbias32), on uint64 arrays."""
    mask = 0xFFFFFFFF
    x = np.asarray(x, dtype=np.uint64) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x7FEB352D)) & mask
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(0x846CA68B)) & mask
    return x ^ (x >> np.uint64(16))


def picture(height, width, seed):
    """Three kinds of picture by seed % 3: noise, black-or-white noise, a steep gradient with a little noise."""
    index = np.arange(height * width * 3, dtype=np.uint64)
    noise = mix(index + np.uint64(seed) * np.uint64(0x9E3779B9))
    y, x, c = np.unravel_index(index.astype(np.int64), (height, width, 3))
    values = [noise & np.uint64(255), (noise & np.uint64(1)) * np.uint64(255), (x * 7 + y * 13 + c * 85 + (noise & np.uint64(15)).astype(np.int64)) & 255]
    return values[seed % 3].astype(np.uint8).reshape(height, width, 3)


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def write_json(name, value):
    (OUT / name).write_text(json.dumps(value, indent=1) + "\n")


# --- grids -----------------------------------------------------------------------------------------------------------

GRID_CASES, GRID_BLOCK = 100_000, 1_000


def grid_case(i):
    """Sizes up to 65,535 of every magnitude; a quarter are squares, a quarter whole multiples of the patch."""
    r = [int(v) for v in mix(np.arange(5, dtype=np.uint64) + np.uint64(8 * i))]
    patch = (14, 16, 32)[r[4] % 3]
    height, width = 1 + ((r[0] % 65535) >> (r[2] & 15)), 1 + ((r[1] % 65535) >> ((r[2] >> 4) & 15))
    kind = (r[2] >> 8) & 3
    if kind == 0:
        width = height
    elif kind == 1:
        height, width = min(65535 // patch, height) * patch, min(65535 // patch, width) * patch
    return height, width, patch, 1 + ((r[3] % 4096) >> ((r[2] >> 10) & 7))


def grids():
    blocks = []
    for start in range(0, GRID_CASES, GRID_BLOCK):
        results = b""
        for i in range(start, start + GRID_BLOCK):
            height, width, patch, budget = grid_case(i)
            h, w = get_image_size_for_max_num_patches(height, width, patch, budget)
            results += struct.pack("<HH", h // patch, w // patch)
        blocks.append(digest(results))
    write_json("grids.json", {"block": GRID_BLOCK, "digests": blocks})


# --- resizing and patches --------------------------------------------------------------------------------------------


def naflex_sizes():
    named = [(9, 5), (5, 9), (1, 1), (2, 2), (1, 300), (300, 1), (16, 16), (14, 28), (224, 224), (256, 256), (333, 500), (480, 640),
             (640, 480), (100, 3000), (4000, 300), (300, 4000), (1080, 1920), (37, 1999)]
    cases = [(h, w, p, n) for k, (h, w) in enumerate(named) for p, n in [(16, 256), [(14, 64), (32, 64), (16, 1024)][k % 3]]]
    for i in range(150):
        r = [int(v) for v in mix(np.arange(4, dtype=np.uint64) + np.uint64(8 * i + 1_000_000))]
        cases.append((1 + (r[0] % 400 >> (i % 4)), 1 + (r[1] % 400 >> (i // 4 % 4)), (14, 16, 32)[r[2] % 3], (9, 64, 100, 256)[r[3] % 4]))
    return cases


def naflex():
    processor = Siglip2ImageProcessor()
    cases = []
    for seed, (height, width, patch, budget) in enumerate(naflex_sizes()):
        image = Image.fromarray(picture(height, width, seed))
        out = processor(images=[image], patch_size=patch, max_num_patches=budget, return_tensors="pt")
        rows, cols = out["spatial_shapes"][0].tolist()
        values = out["pixel_values"][0, : rows * cols].contiguous().numpy()
        cases.append([height, width, patch, budget, seed, rows, cols, digest(values.astype("<f4").tobytes())])
    return cases


def fixed():
    cases = []
    for seed, (height, width, patch, side) in enumerate([(480, 640, 14, 384), (9, 5, 14, 384), (384, 384, 14, 384), (100, 384, 14, 384),
                                                         (4000, 300, 16, 224), (500, 333, 32, 256), (77, 91, 14, 30), (1, 1, 16, 16)]):
        processor = SiglipImageProcessor(size={"height": side, "width": side}, resample=2)
        pixels = processor(images=[Image.fromarray(picture(height, width, seed))], return_tensors="pt")["pixel_values"]
        grid = side // patch
        # A convolution with VALID padding sees these pixels, in this order once its kernel is laid out (y, x, channel).
        patches = torch.nn.functional.unfold(pixels, patch, stride=patch)[0].T.reshape(grid * grid, 3, patch * patch).transpose(1, 2)
        cases.append([height, width, patch, side, seed, digest(patches.contiguous().numpy().astype("<f4").tobytes())])
    return cases


def small_arrays():
    """Whole results, to debug with: uint8 values of resized pictures in patch order."""
    processor = Siglip2ImageProcessor()
    arrays = []
    for seed, (height, width, patch, budget) in enumerate([(9, 5, 4, 6), (23, 31, 4, 6), (3, 40, 5, 7)]):
        out = processor(images=[Image.fromarray(picture(height, width, seed))], patch_size=patch, max_num_patches=budget, return_tensors="pt")
        rows, cols = out["spatial_shapes"][0].tolist()
        values = out["pixel_values"][0, : rows * cols].numpy() * 127.5 + 127.5
        arrays.append([height, width, patch, budget, seed, rows, cols, np.rint(values).astype(np.uint8).tobytes().hex()])
    return arrays


def triangle_weights(source, target):
    """The antialiased filter of jax.image.scale_and_translate and tf.image.resize, written down directly in f64."""
    scale = max(source / target, 1.0)
    centers = (np.arange(target) + 0.5) * source / target - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source)[None] - centers[:, None]) / scale)
    return weights / weights.sum(1, keepdims=True)


def float_resized(height, width, patch, rows, cols, seed):
    values = picture(height, width, seed).astype(np.float64) / 255 * 2 - 1
    values = np.einsum("oh,hwc->owc", triangle_weights(height, rows * patch), values)
    values = np.einsum("ow,hwc->hoc", triangle_weights(width, cols * patch), values)
    return values.reshape(rows, patch, cols, patch, 3).transpose(0, 2, 1, 3, 4).reshape(-1)


def jax():
    sizes = [(9, 5, 4, 3, 2), (23, 31, 4, 2, 3), (90, 7, 3, 4, 1), (16, 16, 4, 4, 4), (5, 200, 2, 1, 8)]
    return [[h, w, p, r, c, seed, [float(f"{v:.8f}") for v in float_resized(h, w, p, r, c, seed)]] for seed, (h, w, p, r, c) in enumerate(sizes)]


# --- files -----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 24, 16
FILES = []


def base():
    """A smooth picture without symmetry, so that lossy decoders agree on it and no orientation looks like another."""
    x, y = np.arange(WIDTH)[None] / (WIDTH - 1), np.arange(HEIGHT)[:, None] / (HEIGHT - 1)
    channels = [255 * x + 0 * y, 255 * y + 0 * x, 127.5 + 100 * np.sin(3 * x + 2 * y)]
    return Image.fromarray(np.rint(np.stack(channels, -1)).astype(np.uint8))


def base16():
    return (np.asarray(base()).astype(np.uint16) * 257) ^ 0x0055


def on_white(image):
    rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
    alpha = rgba[..., 3:] / 255
    return Image.fromarray(np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))


def add(name, data, expected, tolerance=0, warns=False):
    """`expected` is what Pillow makes of the file where the two should agree."""
    if not isinstance(data, bytes):
        image, options = data
        buffer = io.BytesIO()
        image.save(buffer, **options)
        data = buffer.getvalue()
    (OUT / name).write_bytes(data)
    if expected is None:
        expected = Image.open(io.BytesIO(data)).convert("RGB")
    buffer = io.BytesIO()
    expected.convert("RGB").save(buffer, "PNG", optimize=True, icc_profile=None)
    (OUT / f"{name}.expected.png").write_bytes(buffer.getvalue())
    FILES.append({"file": name, "tolerance": tolerance, "warns": warns})


def png16(samples, color_type):
    """Pillow writes no 16-bit colour, so this does."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png_file([(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def png_file(chunks):
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def color_modes():
    rgb = base()
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(255 - np.asarray(rgb)[..., 1]))
    palette = rgb.quantize(40)
    high_byte = Image.fromarray(((base16().astype(np.uint32) + 128) // 257).astype(np.uint8))
    add("rgb.png", (rgb, {"format": "PNG"}), None)
    add("gray.png", (rgb.convert("L"), {"format": "PNG"}), None)
    add("bilevel.png", (rgb.convert("1"), {"format": "PNG"}), None)
    add("palette.png", (palette, {"format": "PNG"}), None)
    add("palette-transparent.png", (palette, {"format": "PNG", "transparency": bytes(range(0, 240, 6))}),
        on_white(Image.open(io.BytesIO(encode(palette, format="PNG", transparency=bytes(range(0, 240, 6)))))))
    add("rgba.png", (rgba, {"format": "PNG"}), on_white(rgba))
    add("gray-alpha.png", (rgba.convert("LA"), {"format": "PNG"}), on_white(rgba.convert("LA")))
    add("rgb16.png", png16(base16(), 2), high_byte)
    add("gray16.png", png16(base16()[..., 0], 0), Image.fromarray(np.asarray(high_byte)[..., 0]))
    add("rgb.bmp", (rgb, {"format": "BMP"}), None)
    add("palette.bmp", (palette, {"format": "BMP"}), None)
    add("rgb-lzw.tif", (rgb, {"format": "TIFF", "compression": "tiff_lzw"}), None)
    add("rgb-deflate.tif", (rgb, {"format": "TIFF", "compression": "tiff_adobe_deflate"}), None)
    add("gray16.tif", (Image.fromarray(base16()[..., 0]), {"format": "TIFF"}), Image.fromarray(np.asarray(high_byte)[..., 0]))
    add("cmyk.tif", (rgb.convert("CMYK"), {"format": "TIFF"}), None, tolerance=1)
    add("still.gif", (palette, {"format": "GIF"}), None)
    add("animated.gif", (palette, {"format": "GIF", "save_all": True, "append_images": [ImageOps.mirror(rgb).quantize(40)]}), None)
    add("lossless.webp", (rgb, {"format": "WEBP", "lossless": True}), None)
    add("lossless-alpha.webp", (rgba, {"format": "WEBP", "lossless": True, "exact": True}), on_white(rgba))
    add("lossy.webp", (rgb, {"format": "WEBP", "quality": 90}), None, tolerance=2)
    add("animated.webp", (rgb, {"format": "WEBP", "lossless": True, "save_all": True, "append_images": [ImageOps.mirror(rgb)]}), None)
    add("444.jpg", (rgb, {"format": "JPEG", "quality": 95, "subsampling": 0}), None, tolerance=2)
    add("420.jpg", (rgb, {"format": "JPEG", "quality": 95, "subsampling": 2}), None, tolerance=4)
    add("progressive.jpg", (rgb, {"format": "JPEG", "quality": 90, "progressive": True}), None, tolerance=4)
    add("gray.jpg", (rgb.convert("L"), {"format": "JPEG", "quality": 95}), None, tolerance=2)
    add("cmyk.jpg", (rgb.convert("CMYK"), {"format": "JPEG", "quality": 95}), None, tolerance=3)


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def orientations():
    def exif(value):
        block = Image.Exif()
        block[0x0112] = value
        return block

    for value in range(1, 9):
        data = encode(base(), format="JPEG", quality=95, subsampling=0, exif=exif(value))
        add(f"orientation-{value}.jpg", data, ImageOps.exif_transpose(Image.open(io.BytesIO(data))), tolerance=2)
    for value in (0, 9, 65535):
        add(f"orientation-{value}.jpg", (base(), {"format": "JPEG", "quality": 95, "subsampling": 0, "exif": exif(value)}), None, tolerance=2)
    for name, options in [("orientation-6.png", {"format": "PNG"}), ("orientation-8.webp", {"format": "WEBP", "lossless": True}),
                          ("orientation-5.tif", {"format": "TIFF"})]:
        data = encode(base(), exif=exif(int(name[12])), **options)
        add(name, data, ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


def icc_profile(space, tags):
    """An ICC version 2 profile for a display."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s12s4s", offset + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ", bytes(12), b"acsp")
    header += bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def xyz(x, y, z):
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(v * 65536) for v in (x, y, z)))


def gamma(value):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def profiles():
    rgb, gray, srgb = base(), base().convert("L"), ImageCms.createProfile("sRGB")
    wide = icc_profile(b"RGB ", {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"rXYZ": xyz(0.5151, 0.2412, -0.0011), b"gXYZ": xyz(0.2919, 0.6922, 0.0419),
                                 b"bXYZ": xyz(0.1572, 0.0666, 0.7841), b"rTRC": gamma(1.8), b"gTRC": gamma(1.8), b"bTRC": gamma(1.8)})
    light = icc_profile(b"GRAY", {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"kTRC": gamma(1.4)})
    jpeg = encode(rgb, format="JPEG", quality=95, subsampling=0, icc_profile=wide)

    def converted(image, profile):
        return ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, renderingIntent=0, outputMode="RGB")

    add("icc-wide.png", (rgb, {"format": "PNG", "icc_profile": wide}), converted(rgb, wide), tolerance=2)
    # The steep curve near black multiplies the levels by which JPEG decoders differ.
    add("icc-wide.jpg", jpeg, converted(Image.open(io.BytesIO(jpeg)), wide), tolerance=8)
    add("icc-gray.png", (gray, {"format": "PNG", "icc_profile": light}), converted(gray, light), tolerance=2)
    dated = ImageCms.ImageCmsProfile(srgb).tobytes()
    add("icc-srgb.png", (rgb, {"format": "PNG", "icc_profile": dated[:24] + bytes(12) + dated[36:]}), rgb)
    add("icc-broken.png", (rgb, {"format": "PNG", "icc_profile": wide[:200]}), rgb, warns=True)
    add("icc-of-other-space.png", (rgb, {"format": "PNG", "icc_profile": light}), rgb, warns=True)
    add("icc-huge.png", (rgb, {"format": "PNG", "icc_profile": bytes(1 << 21)}), rgb, warns=True)


def extremes():
    def claims(width, height):
        return png_file([(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")])

    add("1x1.png", (Image.new("RGB", (1, 1), (1, 2, 3)), {"format": "PNG"}), None)
    add("65535x1.png", (Image.new("RGB", (65535, 1), (9, 8, 7)), {"format": "PNG", "optimize": True}), None)
    add("1x65535.png", (Image.new("RGB", (1, 65535), (9, 8, 7)), {"format": "PNG", "optimize": True}), None)
    (OUT / "claims-65535x32769.png").write_bytes(claims(65535, 32769))
    (OUT / "claims-65536x1.png").write_bytes(claims(65536, 1))
    (OUT / "claims-2147483647x1.png").write_bytes(claims(2**31 - 1, 1))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    grids()
    write_json("patches.json", {"naflex": naflex(), "fixed": fixed(), "small": small_arrays(), "jax": jax()})
    color_modes()
    orientations()
    profiles()
    extremes()
    write_json("files.json", FILES)


if __name__ == "__main__":
    main()
