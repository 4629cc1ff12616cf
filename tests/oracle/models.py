"""Random-weight SigLIP 2 checkpoints in transformers' own format, and the numbers they must give.

    python tests/oracle/models.py            # rewrites tests/oracle/fixtures/{models,images_for_models}; about a minute on two cores

Ran with Python 3.11+, torch 2.15.0, torchvision 0.29.2, transformers 5.23.0, tokenizers 0.23.3, Pillow 13.0.0. Every number is seeded.

Expected values come from the float64 model (`.double()`, sdpa, so the softmax stays float64 too), run on the real processor's float32 pixels
and stored as float32; only the resized position table goes through float32, as in transformers. Checkpoints stored in float16 or bfloat16 are
read back first, so the numbers belong to the rounded weights. How far transformers' own float32 model is from them is measured and
written to the manifest (`transformers_f32_error`): a few 1e-6 for embeddings and hidden states, 1e-5 for hidden states of `outlier`.

Layout (everything is listed in models/manifest.json, so that a test need not know names):

    images_for_models/*.png     the inputs
    models/tokenizer/           shared by all models
    models/<name>/              config.json, preprocessor_config.json, tokenizer.json, weights, expected.safetensors

A case is one (image, budget) pair; K cases, M texts, W width, D = W embedding size. Keys of expected.safetensors:

    input_ids [M,64] i32 · text_embeds [M,D] · text_pooled [M,D] · image_embeds [K,D] · pooled [K,D] · logits_per_image [K,M] · grid [K,2] i32
    rows.k [R] i32 · last_hidden_state.k [R,W]   rows of the valid tokens that are kept, and their final states (after the last LayerNorm)
    block.b.k [R,W]                              the residual stream after block b (counted from 0), same rows
    attention.k [tokens, heads]                  weights of the pooling head's one query
    pixel_values.k [tokens, P*P*3]               valid patches in (py, px, channel) order
"""

import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

import model_tokenizer

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
IMAGES = FIXTURES / "images_for_models"
MODELS = FIXTURES / "models"
LOGIT_SCALE, LOGIT_BIAS = 4.7, -16.8
KEPT_ROWS = 8  # hidden rows per case; one case per model keeps all
FULL_CASE_IMAGE = "tiny"  # the image whose hidden states, block, attention and pixels are kept whole

TEXTS = [
    "",
    "a photo of a cat",
    "This is a photo of a Dog.",
    "blue circle with green border on red background",
    "UPPER CASE, Título Ñandú ÉCOLE ÅNGSTRÖM",
    "Große Straße: fährt über İstanbul",
    "Фотография Кошки на красном диване",
    "صورة قطة صغيرة على كرسي أحمر",
    "एक छोटी बिल्ली की तस्वीर",
    "一只猫在红色的椅子上的照片",
    "ねこのしゃしんです、カメラ",
    "고양이 사진 빨간 의자 위에",
    "family 👨‍👩‍👧‍👦 with 🐕‍🦺 and flag 🏳️‍🌈",
    "!!! what?? (really) -- \"quoted\" #hash_tag / 50% @ $9.99 ...",
    "rice, vegetables, and fish",
    "  leading,  double  and trailing spaces  ",
    "tab\there\nand a new line",
    "ΟΔΟΣ ΣΑΣ ქართული தமிழ் \u0130\u01c5",
    "markup <b>bold</b> <eos> <EOS><pad> x",
    "exactly the kind of sentence that goes on and on, " * 12,
]

# name: family, patch, image side or table entries, vision (width, heads, mlp, depth), text (width, heads, mlp, depth), dtype, shard limit
SPECS = {
    "fixed14": dict(family="siglip", patch=14, image=62, vision=(64, 2, 172, 2), text=(64, 2, 96, 2), dtype=torch.float32),
    "fixed32": dict(family="siglip", patch=32, image=128, resample=3, vision=(64, 2, 96, 2), text=(32, 2, 64, 2), dtype=torch.float16),
    "naflex": dict(family="siglip2", patch=16, image=256, vision=(128, 2, 64, 2), text=(32, 1, 64, 3), dtype=torch.float16),
    "naflex72": dict(family="siglip2", patch=16, image=256, vision=(144, 2, 172, 2), text=(48, 2, 100, 2), dtype=torch.bfloat16),
    "giant96": dict(family="siglip", patch=16, image=96, vision=(96, 1, 80, 3), text=(72, 1, 80, 2), dtype=torch.bfloat16),
    "outlier": dict(family="siglip2", patch=16, image=256, vision=(64, 2, 96, 3), text=(32, 2, 64, 2), dtype=torch.float32, shard="300KB"),
}


# ---------------------------------------------------------------------------------------------------------------- images


def picture(width: int, height: int, seed: int, noise: int = 0) -> Image.Image:
    """A gradient with a few shapes; `noise` adds that many grey levels of noise in blocks, which keeps the PNG small."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    slopes = rng.uniform(-1, 1, (3, 2))
    base = [128 + 100 * (a * (x / width - 0.5) + b * (y / height - 0.5)) for a, b in slopes]
    array = np.stack(base, axis=-1)
    if noise:
        block = max(1, max(width, height) // 64)
        grain = rng.integers(-noise, noise + 1, (height // block + 1, width // block + 1, 3))
        array += grain.repeat(block, 0).repeat(block, 1)[:height, :width]
    image = Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.03, 0.3) * width, rng.uniform(0.03, 0.3) * height
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)
    return image


def make_images() -> dict[str, pathlib.Path]:
    """Writes the inputs; names sort in the order in which cases use them."""
    shutil.rmtree(IMAGES, ignore_errors=True)
    IMAGES.mkdir(parents=True)
    images = {
        "tiny": picture(9, 5, 1, noise=60),
        "icon": picture(16, 16, 2, noise=40),
        "crop": picture(62, 62, 3, noise=40),
        "square": picture(128, 128, 4, noise=30),
        "disc": picture(224, 224, 5),
        "landscape": picture(640, 480, 6, noise=25),
        "portrait": picture(333, 500, 7, noise=25),
        "tower": picture(100, 1000, 8, noise=40),
        "panorama": picture(4000, 300, 9, noise=40).quantize(48, dither=Image.Dither.NONE),
        "grey": picture(150, 90, 10, noise=30).convert("L"),
    }
    paths = {}
    for index, (name, image) in enumerate(images.items()):
        paths[name] = IMAGES / f"{index:02}_{name}_{image.width}x{image.height}.png"
        image.save(paths[name], optimize=True)
    return paths


# --------------------------------------------------------------------------------------------------------------- weights


def make_model(name: str, spec: dict, vocabulary: int) -> transformers.PreTrainedModel:
    """A model whose every parameter matters: nothing is zero, one, or negligibly small."""
    tower = lambda t: dict(hidden_size=t[0], num_attention_heads=t[1], intermediate_size=t[2], num_hidden_layers=t[3])
    vision = tower(spec["vision"]) | dict(patch_size=spec["patch"])
    text = tower(spec["text"]) | dict(vocab_size=vocabulary, max_position_embeddings=64, projection_size=spec["vision"][0])
    text |= dict(pad_token_id=0, eos_token_id=1, bos_token_id=2)
    if spec["family"] == "siglip":
        vision["image_size"] = spec["image"]
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    else:
        vision["num_patches"] = spec["image"]
        model = transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=vision))
    random = torch.Generator().manual_seed(sum(name.encode()))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(random_value(key, parameter.shape, random))
        if name == "outlier":
            add_outliers(model)
    return model.eval()


def random_value(key: str, shape: torch.Size, random: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=random)
    if key == "logit_scale":
        return torch.full(shape, LOGIT_SCALE)
    if key == "logit_bias":
        return torch.full(shape, LOGIT_BIAS)
    if "norm" in key:
        return 1 + 0.2 * noise.clamp(-2, 2) if key.endswith("weight") else 0.2 * noise
    if key.endswith("bias"):
        return 0.2 * noise
    if "token_embedding" in key or key.endswith("probe"):
        return noise
    if "position_embedding" in key:
        return 0.6 * noise
    fan_in = shape[1:].numel()
    gain = {"patch_embedding": 2.0, "q_proj": 2.0, "k_proj": 2.0, "in_proj": 1.6, "fc1": 1.5}
    return noise * fan_in**-0.5 * next((g for part, g in gain.items() if part in key), 1.2)


def add_outliers(model: transformers.PreTrainedModel) -> None:
    """What released weights do: one residual channel x300, position norms x20, attention logits that reach +-50."""
    vision, text = model.vision_model, model.text_model
    vision.embeddings.position_embedding.weight *= 20
    vision.embeddings.patch_embedding.weight[11] *= 300
    text.embeddings.token_embedding.weight[:, 5] *= 300
    for tower, channel, gain in ((vision, 11, 1.0), (text, 5, 12.0)):
        norms = [norm for layer in tower.encoder.layers for norm in (layer.layer_norm1, layer.layer_norm2)]
        for norm in norms + ([text.final_layer_norm] if tower is text else []):
            # Trained models mute the channel where it is read; without that a LayerNorm would pass on nothing else.
            norm.weight *= gain
            norm.weight[channel] *= 0.05 / gain
    ids = torch.arange(64)[None] * 7 % 500
    pixels = torch.linspace(-1, 1, 64 * 768).reshape(1, 64, 768).sin()
    grid, mask = torch.tensor([[8, 8]]), torch.ones(1, 64, dtype=torch.int32)
    for tower, inputs in ((model.vision_model, (pixels, mask, grid)), (model.text_model, (ids,))):
        for layer in tower.encoder.layers:
            seen = []
            hook = layer.layer_norm1.register_forward_hook(lambda _m, _i, out: seen.append(out))
            tower(*inputs)
            hook.remove()
            scale_attention_logits(layer.self_attn, seen[0], 50.0)


def scale_attention_logits(attention: torch.nn.Module, x: torch.Tensor, peak: float) -> None:
    heads = lambda t: t.view(t.shape[1], attention.num_heads, attention.head_dim).transpose(0, 1)
    logits = heads(attention.q_proj(x)) @ heads(attention.k_proj(x)).transpose(-1, -2) * attention.scale
    factor = (peak / logits.abs().max()).sqrt()
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight *= factor
        projection.bias *= factor


# -------------------------------------------------------------------------------------------------------------- expected


def make_processor(spec: dict):
    if spec["family"] == "siglip":
        # SigLIP 2's published processors say bilinear (2); the class default is SigLIP 1's bicubic (3).
        return transformers.SiglipImageProcessor(size={"height": spec["image"], "width": spec["image"]}, resample=spec.get("resample", 2))
    return transformers.Siglip2ImageProcessor(patch_size=spec["patch"], max_num_patches=256)


def packed_patches(pixels: torch.Tensor, patch: int) -> torch.Tensor:
    """[1, 3, H, W] to [tokens, P*P*3]; what lies beyond the last whole patch is dropped, as a VALID convolution does."""
    _, channels, height, width = pixels.shape
    rows, cols = height // patch, width // patch
    whole = pixels[0, :, : rows * patch, : cols * patch].reshape(channels, rows, patch, cols, patch)
    return whole.permute(1, 3, 2, 4, 0).reshape(rows * cols, -1)


def pooling_attention(head: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """Weights [tokens, heads] of the pooling head, recomputed from its in-projection."""
    attention, width = head.attention, hidden.shape[-1]
    size = width // attention.num_heads
    query = torch.nn.functional.linear(head.probe[0], attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    key = torch.nn.functional.linear(hidden, attention.in_proj_weight[width : 2 * width], attention.in_proj_bias[width : 2 * width])
    logits = (query.view(attention.num_heads, 1, size) @ key.view(-1, attention.num_heads, size).permute(1, 2, 0)) * size**-0.5
    return logits.softmax(-1)[:, 0].T


def run_vision(model, inputs: dict, tokens: int) -> dict[str, torch.Tensor]:
    """Everything the vision tower gives for one image, valid rows only."""
    blocks = []
    first = model.vision_model.encoder.layers[0]
    hook = first.register_forward_hook(lambda _m, _i, out: blocks.append(out))
    dtype = model.dtype
    output = model.vision_model(**{k: v.to(dtype) if k == "pixel_values" else v for k, v in inputs.items()})
    hook.remove()
    hidden = output.last_hidden_state[0, :tokens]
    return dict(hidden=hidden, block=blocks[0][0, :tokens], pooled=output.pooler_output[0], attention=pooling_attention(model.vision_model.head, hidden))


def fnv1a64(data: bytes) -> str:
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest ||a-b|| / ||b|| over rows."""
    return float(((a.double() - b).norm(dim=-1) / b.norm(dim=-1)).max())


def cases_of(spec: dict, names: list[str]) -> list[tuple[str, int | None]]:
    if spec["family"] == "siglip":
        return [(name, None) for name in names]
    return [(name, budget) for budget in (64, 256) for name in names] + [("landscape", 1024)]


class Expected:
    """Collects the numbers of one model: `truth` in float64 beside `single`, transformers' own float32."""

    def __init__(self, folder: pathlib.Path, spec: dict, input_ids: torch.Tensor):
        family = transformers.SiglipModel if spec["family"] == "siglip" else transformers.Siglip2Model
        self.truth = family.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").double().eval()
        self.single = family.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.spec, self.tensors, self.cases, self.errors = spec, {"input_ids": input_ids.int()}, [], {"hidden": 0.0}
        self.pooled, self.pooled_single, self.grids = [], [], []
        self.text, self.text_single = (m.text_model(input_ids).pooler_output for m in (self.truth, self.single))

    def add_case(self, processor, name: str, index: int, path: pathlib.Path, budget: int | None) -> None:
        k, patch = len(self.cases), self.spec["patch"]
        image = Image.open(path).convert("RGB")
        inputs = processor(images=image, return_tensors="pt", **({} if budget is None else {"max_num_patches": budget}))
        if budget is None:
            patches = packed_patches(inputs["pixel_values"], patch)
            grid = [inputs["pixel_values"].shape[-1] // patch] * 2
        else:
            grid = inputs["spatial_shapes"][0].tolist()
            patches = inputs["pixel_values"][0, : grid[0] * grid[1]]
        tokens = len(patches)
        truth, single = (run_vision(model, inputs, tokens) for model in (self.truth, self.single))
        full = name == FULL_CASE_IMAGE and budget in (None, 64)
        rows = torch.arange(tokens) if full else torch.linspace(0, tokens - 1, min(KEPT_ROWS, tokens)).long()
        self.tensors |= {f"rows.{k}": rows.int(), f"last_hidden_state.{k}": truth["hidden"][rows]}
        case = dict(image=index, budget=budget, grid=grid, patches_fnv1a64=fnv1a64(patches.contiguous().numpy().tobytes()))
        if full:
            self.tensors |= {f"block.0.{k}": truth["block"][rows], f"attention.{k}": truth["attention"]}
            case |= dict(block=0, attention=True)
            if patch == 14 or self.spec["vision"][0] == 128:  # one fixed and one NaFlex model; digests speak for the others
                self.tensors[f"pixel_values.{k}"] = patches
                case["pixel_values"] = True
        self.cases.append(case)
        self.grids.append(grid)
        self.pooled.append(truth["pooled"])
        self.pooled_single.append(single["pooled"])
        self.errors["hidden"] = max(self.errors["hidden"], relative(single["hidden"], truth["hidden"]))

    def finish(self) -> None:
        image, text = unit(torch.stack(self.pooled)), unit(self.text)
        image32, text32 = unit(torch.stack(self.pooled_single)), unit(self.text_single)
        logits = lambda m, i, t: i @ t.T * m.logit_scale.exp() + m.logit_bias
        truth, single = logits(self.truth, image, text), logits(self.single, image32, text32)
        self.errors |= dict(
            image_embeds=relative(image32, image), text_embeds=relative(text32, text), logits=float((single - truth).abs().max())
        )
        self.tensors |= dict(
            image_embeds=image, text_embeds=text, pooled=torch.stack(self.pooled), text_pooled=self.text, logits_per_image=truth,
            grid=torch.tensor(self.grids).int(),
        )

    def save(self, path: pathlib.Path) -> None:
        as_f32 = lambda t: t if t.dtype == torch.int32 else t.float()
        save_file({k: as_f32(v).contiguous().numpy() for k, v in sorted(self.tensors.items())}, path)

    def report(self, name: str) -> None:
        """Shows that nothing is degenerate: embeddings differ between inputs, logits spread."""
        off_diagonal = lambda e: (e @ e.T)[~torch.eye(len(e), dtype=torch.bool)]
        logits = self.tensors["logits_per_image"]
        image, text = (off_diagonal(self.tensors[k]) for k in ("image_embeds", "text_embeds"))
        print(
            f"{name:9} cosines: image {image.min():.2f}..{image.max():.4f} text {text.min():.2f}..{text.max():.4f};"
            f" logits {logits.min():.1f}..{logits.max():.1f};",
            "f32 off by", {k: f"{v:.1e}" for k, v in self.errors.items()},
        )


def main() -> None:
    torch.manual_seed(0)
    shutil.rmtree(MODELS, ignore_errors=True)
    paths = make_images()
    tokenizer = model_tokenizer.build(MODELS / "tokenizer")
    input_ids = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=64, return_tensors="pt")["input_ids"]
    models = []
    for name, spec in SPECS.items():
        folder = MODELS / name
        processor = make_processor(spec)
        make_model(name, spec, len(tokenizer)).to(spec["dtype"]).save_pretrained(folder, max_shard_size=spec.get("shard", "50GB"))
        processor.save_pretrained(folder)
        shutil.copy(MODELS / "tokenizer" / "tokenizer.json", folder)
        with torch.no_grad():
            expected = Expected(folder, spec, input_ids)
            for image_name, budget in cases_of(spec, list(paths)):
                expected.add_case(processor, image_name, list(paths).index(image_name), paths[image_name], budget)
            expected.finish()
        expected.save(folder / "expected.safetensors")
        expected.report(name)
        models.append(dict(name=name, storage=str(spec["dtype"]).removeprefix("torch."), sharded="shard" in spec,
                           transformers_f32_error=expected.errors, cases=expected.cases))
    manifest = dict(
        tokenizers=["tokenizer/tokenizer.json", "tokenizer/tokenizer.released.json"], texts=TEXTS,
        images=[f"../images_for_models/{path.name}" for path in paths.values()], models=models,
    )
    (MODELS / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
