"""Writes tests/oracle/weights/: two tiny models, each as a big_vision .npz and as the transformers folder it converts to.

The parameters are drawn in flax's layout and converted with the steps of transformers' convert_siglip_to_hf.py and
convert_siglip2_to_hf.py. The script then runs both: transformers on the folder, and big_vision's forward pass (vit.py,
naflex_vit.py, text_transformer.py) spelled out in numpy on the .npz, and refuses to write a pair whose embeddings differ.

    python tests/oracle/weights.py        (numpy, torch, transformers 5.23)
"""

import pathlib
import sys

import numpy as np
import torch
from transformers import Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

HERE = pathlib.Path(__file__).parent / "weights"
VISION = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=4)
TEXT = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3, vocab_size=40,
            max_position_embeddings=8, projection_size=16)
rng = np.random.default_rng(20250220)


def draw(*shape, scale=0.3):
    return rng.normal(0, scale, shape).astype(np.float32)


def block(width, mlp, heads):
    """One flax encoder block, keys as in the .npz."""
    params = {}
    for norm in ("LayerNorm_0", "LayerNorm_1"):
        params[f"{norm}/scale"], params[f"{norm}/bias"] = 1 + draw(width), draw(width)
    params.update(attention(width, heads) | mlp_block(width, mlp))
    return params


def attention(width, heads):
    head_dim, name, params = width // heads, "MultiHeadDotProductAttention_0", {}
    for part in ("query", "key", "value"):
        params[f"{name}/{part}/kernel"], params[f"{name}/{part}/bias"] = draw(width, heads, head_dim), draw(heads, head_dim)
    return params | {f"{name}/out/kernel": draw(heads, head_dim, width), f"{name}/out/bias": draw(width)}


def mlp_block(width, mlp):
    return {"MlpBlock_0/Dense_0/kernel": draw(width, mlp), "MlpBlock_0/Dense_0/bias": draw(mlp),
            "MlpBlock_0/Dense_1/kernel": draw(mlp, width), "MlpBlock_0/Dense_1/bias": draw(width)}


def flax_params(naflex):
    """All parameters with numbered blocks."""
    width, mlp, heads = (VISION[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
    patch = VISION["patch_size"]
    params = {"t": np.array([4.7], np.float32), "b": np.array([-16.8], np.float32)}
    params["img/embedding/kernel"] = draw(patch * patch * 3, width) if naflex else draw(patch, patch, 3, width)
    params["img/embedding/bias"] = draw(width)
    params["img/pos_embedding"] = draw(4, 4, width) if naflex else draw(1, 9, width)
    for i in range(VISION["num_hidden_layers"]):
        params |= {f"img/Transformer/encoderblock_{i}/{k}": v for k, v in block(width, mlp, heads).items()}
    params["img/Transformer/encoder_norm/scale"], params["img/Transformer/encoder_norm/bias"] = 1 + draw(width), draw(width)
    head = {"probe": draw(1, 1, width), "LayerNorm_0/scale": 1 + draw(width), "LayerNorm_0/bias": draw(width)}
    params |= {f"img/MAPHead_0/{k}": v for k, v in (head | attention(width, heads) | mlp_block(width, mlp)).items()}
    width, mlp, heads = (TEXT[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
    params["txt/Embed_0/embedding"] = draw(TEXT["vocab_size"], width)
    params["txt/pos_embedding"] = draw(1, TEXT["max_position_embeddings"], width)
    for i in range(TEXT["num_hidden_layers"]):
        params |= {f"txt/Encoder_0/encoderblock_{i}/{k}": v for k, v in block(width, mlp, heads).items()}
    params["txt/Encoder_0/encoder_norm/scale"], params["txt/Encoder_0/encoder_norm/bias"] = 1 + draw(width), draw(width)
    params["txt/head/kernel"], params["txt/head/bias"] = draw(width, TEXT["projection_size"]), draw(TEXT["projection_size"])
    return params


# ---- conversion, as transformers does it


def convert(params, naflex):
    out = {"logit_scale": params["t"], "logit_bias": params["b"]}
    kernel = params["img/embedding/kernel"]
    out["vision_model.embeddings.patch_embedding.weight"] = kernel.T if naflex else kernel.transpose(3, 2, 0, 1)
    out["vision_model.embeddings.patch_embedding.bias"] = params["img/embedding/bias"]
    out["vision_model.embeddings.position_embedding.weight"] = params["img/pos_embedding"].reshape(-1, VISION["hidden_size"])
    convert_encoder(params, out, "img/Transformer", "vision_model", "post_layernorm", VISION)
    convert_encoder(params, out, "txt/Encoder_0", "text_model", "final_layer_norm", TEXT)
    head, width, name = "vision_model.head", VISION["hidden_size"], "img/MAPHead_0"
    attn = f"{name}/MultiHeadDotProductAttention_0"
    out[f"{head}.probe"] = params[f"{name}/probe"]
    fused = [params[f"{attn}/{part}/kernel"].reshape(width, width).T for part in ("query", "key", "value")]
    out[f"{head}.attention.in_proj_weight"] = np.concatenate(fused)
    out[f"{head}.attention.in_proj_bias"] = np.concatenate([params[f"{attn}/{p}/bias"].reshape(-1) for p in ("query", "key", "value")])
    out[f"{head}.attention.out_proj.weight"] = params[f"{attn}/out/kernel"].reshape(width, width).T
    out[f"{head}.attention.out_proj.bias"] = params[f"{attn}/out/bias"]
    norm_and_mlp(params, out, name, head, [("LayerNorm_0", "layernorm")])
    out["text_model.embeddings.token_embedding.weight"] = params["txt/Embed_0/embedding"]
    out["text_model.embeddings.position_embedding.weight"] = params["txt/pos_embedding"].reshape(-1, TEXT["hidden_size"])
    out["text_model.head.weight"], out["text_model.head.bias"] = params["txt/head/kernel"].T, params["txt/head/bias"]
    return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in out.items()}


def convert_encoder(params, out, name, target, final_norm, config):
    width = config["hidden_size"]
    for i in range(config["num_hidden_layers"]):
        src, dst = f"{name}/encoderblock_{i}", f"{target}.encoder.layers.{i}"
        for part, proj in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
            attn = f"{src}/MultiHeadDotProductAttention_0/{part}"
            out[f"{dst}.self_attn.{proj}_proj.weight"] = params[f"{attn}/kernel"].reshape(width, width).T
            out[f"{dst}.self_attn.{proj}_proj.bias"] = params[f"{attn}/bias"].reshape(width)
        norm_and_mlp(params, out, src, dst, [("LayerNorm_0", "layer_norm1"), ("LayerNorm_1", "layer_norm2")])
    out[f"{target}.{final_norm}.weight"] = params[f"{name}/encoder_norm/scale"]
    out[f"{target}.{final_norm}.bias"] = params[f"{name}/encoder_norm/bias"]


def norm_and_mlp(params, out, src, dst, norms):
    for flax, torch_name in norms:
        out[f"{dst}.{torch_name}.weight"], out[f"{dst}.{torch_name}.bias"] = params[f"{src}/{flax}/scale"], params[f"{src}/{flax}/bias"]
    for dense, fc in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
        out[f"{dst}.mlp.{fc}.weight"] = params[f"{src}/MlpBlock_0/{dense}/kernel"].T
        out[f"{dst}.mlp.{fc}.bias"] = params[f"{src}/MlpBlock_0/{dense}/bias"]


# ---- big_vision's forward pass, in the flax layout


def layer_norm(p, name, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * p[f"{name}/scale"] + p[f"{name}/bias"]


def mha(p, name, query, keys):
    name = f"{name}/MultiHeadDotProductAttention_0"
    q, k, v = (np.einsum("nd,dhk->nhk", x, p[f"{name}/{part}/kernel"]) + p[f"{name}/{part}/bias"]
               for part, x in (("query", query), ("key", keys), ("value", keys)))
    scores = np.einsum("qhk,nhk->hqn", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("qhk,hkd->qd", np.einsum("hqn,nhk->qhk", weights, v), p[f"{name}/out/kernel"]) + p[f"{name}/out/bias"]


def mlp(p, name, x):
    x = x @ p[f"{name}/MlpBlock_0/Dense_0/kernel"] + p[f"{name}/MlpBlock_0/Dense_0/bias"]
    x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x @ p[f"{name}/MlpBlock_0/Dense_1/kernel"] + p[f"{name}/MlpBlock_0/Dense_1/bias"]


def encoder(p, name, depth, x):
    for i in range(depth):
        block_name = f"{name}/encoderblock_{i}"
        y = layer_norm(p, f"{block_name}/LayerNorm_0", x)
        x = x + mha(p, block_name, y, y)
        x = x + mlp(p, block_name, layer_norm(p, f"{block_name}/LayerNorm_1", x))
    return layer_norm(p, f"{name}/encoder_norm", x)


def embed_image(p, patches):
    """patches [tokens, P·P·3], in the order (y, x, channel)."""
    kernel = p["img/embedding/kernel"].reshape(patches.shape[1], -1)
    x = patches @ kernel + p["img/embedding/bias"] + p["img/pos_embedding"].reshape(-1, kernel.shape[1])
    x = encoder(p, "img/Transformer", VISION["num_hidden_layers"], x)
    a = mha(p, "img/MAPHead_0", p["img/MAPHead_0/probe"][0], x)
    return (a + mlp(p, "img/MAPHead_0", layer_norm(p, "img/MAPHead_0/LayerNorm_0", a)))[0]


def embed_text(p, ids):
    x = p["txt/Embed_0/embedding"][ids] + p["txt/pos_embedding"][0]
    x = encoder(p, "txt/Encoder_0", TEXT["num_hidden_layers"], x)
    return x[-1] @ p["txt/head/kernel"] + p["txt/head/bias"]


# ---- writing


def stacked(params):
    """The form of a scanned model: one array per kind of parameter, blocks along the first axis."""
    out, groups = {}, {}
    for key, value in params.items():
        head, sep, tail = key.partition("/encoderblock_")
        if sep:
            layer, rest = tail.split("/", 1)
            groups.setdefault(f"{head}/encoderblock/{rest}", {})[int(layer)] = value
        else:
            out[key] = value
    return out | {key: np.stack([layers[i] for i in sorted(layers)]) for key, layers in groups.items()}


def half(key, value):
    """bf16 for the text tower and the scalars, as numpy saves a type it does not know: two opaque bytes; f16 for the rest."""
    if key.startswith("img/"):
        return value.astype(np.float16)
    return torch.from_numpy(value).to(torch.bfloat16).view(torch.int16).numpy().view("V2")


def check(params, model, naflex):
    side, patch = (4 if naflex else 3), VISION["patch_size"]
    patches = draw(side * side, patch * patch * 3, scale=1)
    ids = rng.integers(0, TEXT["vocab_size"], TEXT["max_position_embeddings"])
    with torch.no_grad():
        if naflex:
            image = model.get_image_features(pixel_values=torch.from_numpy(patches)[None],
                                             pixel_attention_mask=torch.ones(1, side * side, dtype=torch.int64),
                                             spatial_shapes=torch.tensor([[side, side]]))
        else:
            pixels = patches.reshape(side, side, patch, patch, 3).transpose(4, 0, 2, 1, 3).reshape(3, side * patch, side * patch)
            # The 13th pixel is beyond the last whole patch.
            image = model.get_image_features(pixel_values=torch.nn.functional.pad(torch.from_numpy(pixels)[None], (0, 1, 0, 1)))
        text = model.get_text_features(input_ids=torch.from_numpy(ids)[None])
    for ours, theirs in ((embed_image(params, patches), image), (embed_text(params, ids), text)):
        theirs = getattr(theirs, "pooler_output", theirs)[0].numpy()
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        if error > 1e-5:
            sys.exit(f"flax and transformers disagree: {error}")


def main():
    for name, naflex in (("fixed", False), ("naflex", True)):
        config_class, model_class = (Siglip2Config, Siglip2Model) if naflex else (SiglipConfig, SiglipModel)
        vision = VISION | (dict(num_patches=16) if naflex else dict(image_size=13))
        ids = dict(pad_token_id=0, bos_token_id=2, eos_token_id=1)
        model = model_class(config_class(text_config=TEXT | ids, vision_config=vision)).eval()
        params = flax_params(naflex)
        model.load_state_dict(convert(params, naflex), strict=True)
        check(params, model, naflex)
        model.save_pretrained(HERE / name)
        # One file in each form that exists: blocks stacked or numbered, plain or deflated, with and without the trainer's prefix.
        if naflex:
            np.savez_compressed(HERE / f"{name}.npz", **{f"params/{k}": v for k, v in params.items()}, **{"opt/0/count": np.int32(7)})
        else:
            np.savez(HERE / f"{name}.npz", **stacked(params))
            np.savez(HERE / "half.npz", **{key: half(key, value) for key, value in stacked(params).items()})


main()
