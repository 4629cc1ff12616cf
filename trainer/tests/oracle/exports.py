"""Loads exported folders in transformers, unchanged, and compares embeddings with the fixtures' float64 numbers.

    for name in naflex fixed; do
        cargo run -p polyglance-trainer -- export trainer/tests/oracle/fixtures/$name --output /tmp/$name
        cargo run -p polyglance-trainer -- export trainer/tests/oracle/fixtures/$name --precision f16 --output /tmp/$name-f16
    done
    python trainer/tests/oracle/exports.py naflex /tmp/naflex /tmp/naflex-f16
    python trainer/tests/oracle/exports.py fixed /tmp/fixed /tmp/fixed-f16

The first argument names the fixture. Prints the largest relative error of a row; fails above 1e-5, or 5e-3 for half precision. A folder
with a tokenizer has that loaded and used too, as the image processor always is.
"""

import pathlib
import sys

import PIL.Image
import torch
import transformers
from safetensors.torch import load_file

import gradients


def worst_row(got: torch.Tensor, want: torch.Tensor) -> float:
    return float(((got - want).norm(dim=-1) / want.norm(dim=-1)).max())


def check(name: str, folder: pathlib.Path) -> None:
    model, report = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), f"{folder}: {report}"
    half = model.dtype == torch.float16
    batch = load_file(gradients.FIXTURES / name / "batch.safetensors")
    with torch.no_grad():
        embeddings = gradients.embed(model.double().eval(), batch)
    for kind, got in zip(("image_embeds", "text_embeds"), embeddings):
        error = worst_row(got, batch[kind].double())
        print(f"{folder}: {model.__class__.__name__}, {kind} differ by {error:.1e}")
        assert error <= (5e-3 if half else 1e-5)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    values = processor(images=PIL.Image.new("RGB", (50, 20)), return_tensors="pt")
    print(f"{folder}: {processor.__class__.__name__} gives {', '.join(f'{k} {tuple(v.shape)}' for k, v in values.items())}")
    if (folder / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ids = tokenizer("A photo", padding="max_length", truncation=True, max_length=64)["input_ids"]
        print(f"{folder}: {tokenizer.__class__.__name__} gives {len(ids)} ids, {ids[:6]}")


if __name__ == "__main__":
    for folder in sys.argv[2:]:
        check(sys.argv[1], pathlib.Path(folder))
