"""Prints the constants of `polyglance doctor`'s self-check (src/cli/doctor/checkup.rs).

The model has the dimensions of google/siglip2-base-patch16-naflex with one block a tower; its weights and the picture are made up by
a counter-based generator (SplitMix64), which this script and the program both have.

Run: python tests/oracle/doctor.py     (transformers 5.23, torch 2.15; float64)
"""

import numpy as np
import torch
import transformers


def noise(seed: int, count: int) -> np.ndarray:
    """Uniform in -1 to 1, in float32."""
    with np.errstate(over="ignore"):
        start = np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        state = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        top = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(40)
    return top.astype(np.float32) / np.float32(2**23) - np.float32(1)


def fnv1a64(text: str) -> int:
    digest = 0xCBF29CE484222325
    for byte in text.encode():
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = noise(fnv1a64(name), int(np.prod(shape))).reshape(shape)
    if len(shape) == 2:
        return values * np.sqrt(np.float32(3) / np.float32(shape[1]))
    return np.float32(1) + np.float32(0.2) * values


if __name__ == "__main__":
    vision = dict(num_hidden_layers=1, num_patches=256, patch_size=16)
    config = transformers.Siglip2Config(text_config=dict(num_hidden_layers=1, vocab_size=8, projection_size=768), vision_config=vision)
    model = transformers.Siglip2Model(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weights(name, tuple(parameter.shape))))
        model = model.double().eval()
        pixels = torch.from_numpy(noise(1, 256 * 768).reshape(1, 256, 768)).double()
        output = model.vision_model(pixels, torch.ones(1, 256, dtype=torch.int32), torch.tensor([[16, 16]]))
        embed = torch.nn.functional.normalize(output.pooler_output, dim=-1)[0]
    print(", ".join(f"{value:.8f}" for value in embed[:8].tolist()), "spread", embed.std().item())
