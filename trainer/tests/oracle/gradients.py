"""Losses, gradients and a short training run of tiny SigLIP models, from torch in float64.

    python trainer/tests/oracle/gradients.py        # rewrites trainer/tests/oracle/fixtures; half a minute

Ran with Python 3.11+, torch 2.15.0, transformers 5.23.0, safetensors 0.8. Every number is seeded. The models are transformers' own
(`Siglip2Model`, `SiglipModel`, sdpa, `.double()`, so that the softmax stays float64); the loss is written out below, because transformers' is the same formula but
keeps float32 in places. transformers resizes the position table in float32 on a CPU, which is its one step outside float64.

    fixtures/<name>/config.json, model.safetensors   the starting point, a checkpoint folder
    fixtures/<name>/batch.safetensors                patches [tokens, P*P*3] · grids [B,2] i32 · input_ids [B,64] i32
                                                     image_embeds, text_embeds [B,D] · loss [1] · gradient.<parameter>, Hugging Face's shapes
    fixtures/steps/config.json, model.safetensors    the starting point of the run
    fixtures/steps/run.safetensors                   for batch k of K: patches.k, grids.k, input_ids.k; step s takes batch s mod K
                                                     losses [steps] before each update · multiplier [steps] of the schedule
                                                     metadata: lr, weight_decay, b1, b2, eps, clip_norm, warmup_steps, steps, decayed (names)

The run is big_vision's chain (optax.py, utils.py): clip by global norm -> Adam -> times lr -> plus weight_decay * parameter for kernels
-> times the schedule -> subtract. The schedule is min(1, step / warmup) * (1 + cos(pi * progress)) / 2 with steps counted from 0.
"""

import json
import math
import pathlib

import torch
import transformers
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
VOCABULARY = 40
PATCH = 4
VISION = dict(hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2, patch_size=PATCH)
TEXT = dict(
    hidden_size=24, num_attention_heads=1, intermediate_size=20, num_hidden_layers=2, vocab_size=VOCABULARY, max_position_embeddings=64,
    projection_size=16, pad_token_id=0, eos_token_id=1, bos_token_id=2,
)
TABLE_SIDE = 5
# Rows and columns below, at and above the table's; the first two are equal in length but not in shape.
GRIDS = [(2, 3), (3, 2), (5, 5), (1, 9), (7, 4), (1, 1), (5, 5)]
RUN = dict(lr=2e-3, weight_decay=2e-4, b1=0.9, b2=0.95, eps=1e-8, clip_norm=1.0, warmup_steps=20, steps=200)
KERNELS = ("_proj.weight", "in_proj_weight", "fc1.weight", "fc2.weight", "patch_embedding.weight", "text_model.head.weight")


def make_model(naflex: bool, seed: int, gain: float) -> transformers.PreTrainedModel:
    """A model whose every parameter matters; rounded to float32, computed in float64."""
    if naflex:
        vision = VISION | dict(num_patches=TABLE_SIDE**2)
        model = transformers.Siglip2Model._from_config(
            transformers.Siglip2Config(text_config=TEXT, vision_config=vision), attn_implementation="sdpa"
        )
    else:
        vision = VISION | dict(image_size=TABLE_SIDE * PATCH)
        model = transformers.SiglipModel._from_config(
            transformers.SiglipConfig(text_config=TEXT, vision_config=vision), attn_implementation="sdpa"
        )
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if key == "logit_scale":
                value = torch.full_like(noise, 2.0)
            elif key == "logit_bias":
                value = torch.full_like(noise, -2.0)
            elif "norm" in key:
                value = 1 + 0.2 * noise if key.endswith("weight") else 0.2 * noise
            elif key.endswith("bias"):
                value = 0.2 * noise
            elif "embedding" in key and "patch" not in key or key.endswith("probe"):
                value = 0.7 * noise
            else:
                value = gain * noise * parameter.shape[1:].numel() ** -0.5
            parameter.copy_(value)
    return model.double().train()


def make_batch(naflex: bool, size: int, seed: int) -> dict[str, torch.Tensor]:
    """Packed patches with their grids, and token ids that end in padding."""
    random = torch.Generator().manual_seed(seed)
    start = int(torch.randint(len(GRIDS), (1,), generator=random))
    grids = [GRIDS[(start + i) % len(GRIDS)] if naflex else (TABLE_SIDE, TABLE_SIDE) for i in range(size)]
    tokens = sum(rows * cols for rows, cols in grids)
    # An offset per image, so that images differ by more than noise.
    offsets = torch.cat([torch.randn(1, PATCH * PATCH * 3, generator=random).expand(r * c, -1) for r, c in grids])
    patches = (0.5 * offsets + 0.5 * torch.randn(tokens, PATCH * PATCH * 3, generator=random)).clamp(-1, 1)
    ids = torch.zeros(size, 64, dtype=torch.int32)
    for row in ids:
        length = int(torch.randint(1, 30, (1,), generator=random))
        row[:length] = torch.randint(3, VOCABULARY - 4, (length,), generator=random)
        row[length] = 1
    return dict(patches=patches, grids=torch.tensor(grids, dtype=torch.int32), input_ids=ids)


def embed(model: transformers.PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    grids = batch["grids"].tolist()
    images = batch["patches"].double().split([rows * cols for rows, cols in grids])
    if isinstance(model, transformers.Siglip2Model):
        longest = max(map(len, images))
        padded = torch.stack([torch.nn.functional.pad(image, (0, 0, 0, longest - len(image))) for image in images])
        mask = torch.tensor([[1] * len(image) + [0] * (longest - len(image)) for image in images])
        pooled = model.vision_model(pixel_values=padded, pixel_attention_mask=mask, spatial_shapes=batch["grids"].long()).pooler_output
    else:
        square = torch.stack(images).reshape(len(images), TABLE_SIDE, TABLE_SIDE, PATCH, PATCH, 3)
        pixels = square.permute(0, 5, 1, 3, 2, 4).reshape(len(images), 3, TABLE_SIDE * PATCH, TABLE_SIDE * PATCH)
        pooled = model.vision_model(pixel_values=pixels).pooler_output
    text = model.text_model(input_ids=batch["input_ids"].long()).pooler_output
    return tuple(x / x.norm(dim=-1, keepdim=True) for x in (pooled, text))


def sigmoid_loss(model: transformers.PreTrainedModel, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    logits = model.logit_scale.exp() * images @ texts.T + model.logit_bias
    signs = 2 * torch.eye(len(images), dtype=logits.dtype) - 1
    return -torch.nn.functional.logsigmoid(signs * logits).sum() / len(images)


def write_model(model: transformers.PreTrainedModel, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: p.detach().float().contiguous() for k, p in model.named_parameters()}, folder / "model.safetensors", {"format": "pt"})
    config = model.config.to_diff_dict() | dict(architectures=[type(model).__name__])
    keep = ("model_type", "architectures", "text_config", "vision_config")
    (folder / "config.json").write_text(json.dumps({k: config[k] for k in keep}, indent=1, default=str) + "\n")


def write_gradients(name: str, naflex: bool, seed: int) -> None:
    model, batch = make_model(naflex, seed, 1.5), make_batch(naflex, 7, seed + 1)
    images, texts = embed(model, batch)
    loss = sigmoid_loss(model, images, texts)
    loss.backward()
    write_model(model, FIXTURES / name)
    gradients = {f"gradient.{key}": parameter.grad for key, parameter in model.named_parameters()}
    assert all(float(g.norm()) > 0 for key, g in gradients.items() if not key.endswith("k_proj.bias")), "a parameter does not matter"
    numbers = dict(image_embeds=images, text_embeds=texts, loss=loss[None]) | gradients
    save_file(batch | {k: v.detach().float().contiguous() for k, v in numbers.items()}, FIXTURES / name / "batch.safetensors")
    print(f"{name}: loss {loss.item():.4f}, {sum(p.numel() for p in model.parameters())} parameters")


def multiplier(step: int) -> float:
    progress = min(max((step - RUN["warmup_steps"]) / (RUN["steps"] - RUN["warmup_steps"]), 0.0), 1.0)
    return min(1.0, step / RUN["warmup_steps"]) * 0.5 * (1 + math.cos(math.pi * progress))


def write_steps() -> None:
    model = make_model(True, 11, 1.0)
    write_model(model, FIXTURES / "steps")
    batches = [make_batch(True, 6, 100 + k) for k in range(4)]
    parameters = dict(model.named_parameters())
    decayed = [name for name in parameters if name.endswith(KERNELS)]
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in parameters.items()}
    losses = []
    for step in range(RUN["steps"]):
        model.zero_grad()
        loss = sigmoid_loss(model, *embed(model, batches[step % len(batches)]))
        loss.backward()
        losses.append(loss.item())
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters.values()))
        clip = 1.0 if norm < RUN["clip_norm"] else RUN["clip_norm"] / norm
        for name, p in parameters.items():
            (first, second), gradient = moments[name], p.grad * clip
            first.mul_(RUN["b1"]).add_((1 - RUN["b1"]) * gradient)
            second.mul_(RUN["b2"]).add_((1 - RUN["b2"]) * gradient**2)
            first_hat, second_hat = first / (1 - RUN["b1"] ** (step + 1)), second / (1 - RUN["b2"] ** (step + 1))
            update = RUN["lr"] * first_hat / (second_hat.sqrt() + RUN["eps"])
            if name in decayed:
                update = update + RUN["weight_decay"] * p.detach()
            p.data.sub_(multiplier(step) * update)
    numbers = dict(losses=torch.tensor(losses).float(), multiplier=torch.tensor([multiplier(s) for s in range(RUN["steps"])]).float())
    inputs = {f"{key}.{k}": value for k, batch in enumerate(batches) for key, value in batch.items()}
    metadata = {key: str(value) for key, value in RUN.items()} | dict(decayed=",".join(decayed))
    save_file(inputs | numbers, FIXTURES / "steps" / "run.safetensors", metadata)
    print(f"steps: loss {losses[0]:.4f} to {losses[-1]:.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_gradients("naflex", True, 1)
    write_gradients("fixed", False, 5)
    write_steps()
