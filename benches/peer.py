"""Speed of onnxruntime and torch on a checkpoint folder, for `cargo bench --bench encoder`.

    python benches/peer.py MODEL_DIR THREADS     (pip install torch torchvision transformers onnxruntime onnx onnxscript)

Prints one JSON line per peer and task: {"peer", "task", "per_second"}, the median of several runs. Tasks: "image", 256 tokens through the
vision tower and its pooling head; "text", 64 prompts through the text tower. The ONNX graphs are exported here, from the same weights.
"""

import json
import os
import statistics
import sys
import tempfile
import time

import onnxruntime
import torch
import transformers

model_dir, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
model = transformers.AutoModel.from_pretrained(model_dir, attn_implementation="sdpa").eval()
BATCH, PROMPTS, RUNS = 4, 64, 7


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower = model.vision_model
        self.naflex = model.config.model_type == "siglip2"

    def forward(self, pixels):
        if self.naflex:
            # A 16 x 16 grid fills the budget, so the mask hides nothing.
            mask = torch.ones(pixels.shape[:2], dtype=torch.int32)
            shapes = torch.full((pixels.shape[0], 2), 16, dtype=torch.int64)
            return self.tower(pixels, pixel_attention_mask=mask, spatial_shapes=shapes).pooler_output
        return self.tower(pixels).pooler_output


class Text(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower = model.text_model

    def forward(self, ids):
        return self.tower(input_ids=ids).pooler_output


def per_second(run, items):
    run()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return items / statistics.median(seconds)


def report(peer, task, figure):
    print(json.dumps({"peer": peer, "task": task, "per_second": figure}), flush=True)


def measure(task, module, inputs, items):
    with torch.inference_mode():
        report("torch f32", task, per_second(lambda: module(inputs), items))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        with torch.no_grad():
            torch.onnx.export(module, (inputs,), path, input_names=["x"], dynamo=True, external_data=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: inputs.numpy()}
        report("onnxruntime f32", task, per_second(lambda: session.run(None, feed), items))


torch.manual_seed(0)
patch = model.config.vision_config.patch_size
if model.config.model_type == "siglip2":
    pixels = torch.rand(BATCH, 256, patch * patch * 3) * 2 - 1
else:
    side = model.config.vision_config.image_size
    pixels = torch.rand(BATCH, 3, side, side) * 2 - 1
measure("image", Vision(model), pixels, BATCH)
measure("text", Text(model), torch.randint(0, model.config.text_config.vocab_size, (PROMPTS, 64)), PROMPTS)
