"""A training step of transformers' model in torch, one timed run at a time, for `cargo bench -p polyglance-trainer --bench step`.

    python trainer/benches/peer.py FOLDER THREADS     (pip install torch transformers safetensors)

FOLDER holds a NaFlex checkpoint and batch.safetensors: patches [tokens, P*P*3], grids [B,2] i32, input_ids [B,64] i32. After the line
"ready" each line on standard input is answered with the seconds of one step (forward, loss, backward; f32, sdpa) and its loss.
"""

import sys
import time

import torch
import transformers
from safetensors.torch import load_file

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
model = transformers.AutoModel.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32).train()
batch = load_file(f"{folder}/batch.safetensors")
grids = batch["grids"].long()
images = batch["patches"].split((grids[:, 0] * grids[:, 1]).tolist())
longest = max(map(len, images))
pixels = torch.stack([torch.nn.functional.pad(image, (0, 0, 0, longest - len(image))) for image in images])
mask = torch.stack([(torch.arange(longest) < len(image)).int() for image in images])
ids = batch["input_ids"].long()
signs = 2 * torch.eye(len(images)) - 1


def step() -> float:
    model.zero_grad()
    pooled = model.vision_model(pixel_values=pixels, pixel_attention_mask=mask, spatial_shapes=grids).pooler_output
    text = model.text_model(input_ids=ids).pooler_output
    pooled, text = (x / x.norm(dim=-1, keepdim=True) for x in (pooled, text))
    logits = model.logit_scale.exp() * pooled @ text.T + model.logit_bias
    loss = -torch.nn.functional.logsigmoid(signs * logits).sum() / len(images)
    loss.backward()
    return loss.item()


step()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    loss = step()
    print(time.perf_counter() - start, loss, flush=True)
