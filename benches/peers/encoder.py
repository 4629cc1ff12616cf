"""onnxruntime and torch on a checkpoint folder, one timed run at a time, for `cargo bench --bench encoder`.

    python benches/peers/encoder.py MODEL_DIR THREADS     (pip install torch torchvision transformers onnxruntime onnx onnxscript)
    python benches/peers/encoder.py export MODEL_DIR OUT.onnx     writes the vision tower for one image, for benches/browser

After the line "ready" it answers each line "PEER TASK" on standard input with the seconds of one run. The caller alternates peers, because
machines change their speed from minute to minute. Peers: onnxruntime, torch, both f32. Tasks: "image", 4 images of 256 tokens through the vision
tower and its pooling head; "text", 64 prompts through the text tower. The ONNX graphs are exported here, from the same weights.
"""

import os
import sys
import tempfile
import time

import onnxruntime
import torch
import transformers

exports = sys.argv[1] == "export"
model_dir, out = sys.argv[2:] if exports else (sys.argv[1], None)
threads = os.cpu_count() if exports else int(sys.argv[2])
torch.set_num_threads(threads)
model = transformers.AutoModel.from_pretrained(model_dir, attn_implementation="sdpa").eval()
BATCH, PROMPTS = 1 if exports else 4, 64


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower = model.vision_model
        self.naflex = model.config.model_type == "siglip2"
        if self.naflex:
            # One grid for all: its position embeddings are resized once, which favours the peers and spares the export checks of shapes.
            embeddings = self.tower.embeddings
            table = embeddings.position_embedding.weight.reshape(embeddings.position_embedding_size, embeddings.position_embedding_size, -1)
            resized = embeddings.resize_positional_embeddings(table, torch.tensor([[16, 16]]), max_length=256).detach()
            embeddings.resize_positional_embeddings = lambda *_, **__: resized

    def forward(self, pixels):
        if self.naflex:
            # A 16 x 16 grid fills the budget: there is nothing to mask.
            shapes = torch.full((pixels.shape[0], 2), 16, dtype=torch.int64)
            return self.tower(pixels, pixel_attention_mask=None, spatial_shapes=shapes).pooler_output
        return self.tower(pixels).pooler_output


class Text(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower = model.text_model

    def forward(self, ids):
        return self.tower(input_ids=ids).pooler_output


def export(module, inputs, path):
    with torch.no_grad():
        torch.onnx.export(module.eval(), (inputs,), path, input_names=["x"], dynamo=True, external_data=True, verbose=False)


def runners(module, inputs):
    """A function per peer that runs the module once."""
    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    export(module, inputs, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: inputs.numpy()}
    return {"onnxruntime": lambda: session.run(None, feed), "torch": lambda: module(inputs)}


torch.manual_seed(0)
patch = model.config.vision_config.patch_size
if model.config.model_type == "siglip2":
    pixels = torch.rand(BATCH, 256, patch * patch * 3) * 2 - 1
else:
    side = model.config.vision_config.image_size
    pixels = torch.rand(BATCH, 3, side, side) * 2 - 1
if exports:
    sys.exit(export(Vision(model), pixels, out))
ids = torch.randint(0, model.config.text_config.vocab_size, (PROMPTS, 64))

with torch.inference_mode(False):
    tasks = {"image": runners(Vision(model), pixels), "text": runners(Text(model), ids)}
with torch.inference_mode():
    for task in tasks.values():
        for run in task.values():
            run()
    print("ready", flush=True)
    for line in sys.stdin:
        peer, task = line.split()
        start = time.perf_counter()
        tasks[task][peer]()
        print(time.perf_counter() - start, flush=True)
