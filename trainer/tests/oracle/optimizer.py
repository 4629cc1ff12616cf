"""Makes tests/oracle/fixtures/optimizer.json: what optax does with big_vision's chain, in f64.

The chain is that of big_vision's optax.py, make(): clip_by_global_norm, scale_by_adam, scale by the learning rate and by a multiplier per
parameter, add_decayed_weights on kernels, scale_by_schedule, scale by -1. The schedule is create_learning_rate_schedule of utils.py.
Parameters bear Hugging Face names, so that the test also covers which of them decay.

Run: python trainer/tests/oracle/optimizer.py     (optax 0.2.8, jax 0.10.2)
"""

import json
import math
import pathlib

import jax
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp  # noqa: E402

KERNELS = ["vision_model.encoder.layers.0.mlp.fc1.weight", "vision_model.head.attention.in_proj_weight", "text_model.head.weight"]
OTHERS = ["vision_model.post_layernorm.weight", "vision_model.embeddings.position_embedding.weight", "vision_model.head.probe",
          "text_model.head.bias", "logit_bias"]
SLOW, STEPS, WARMUP = "vision_model.encoder.layers.0.mlp.fc1.weight", 12, 3
RATE, DECAY, CLIP, MULTIPLIER, BETA2 = 1e-2, 1e-3, 1.0, 0.25, 0.95


def schedule(step):
    progress = jnp.clip((step - WARMUP) / (STEPS - WARMUP), 0.0, 1.0)
    return 0.5 * (1.0 + jnp.cos(math.pi * progress)) * jnp.minimum(1.0, step / WARMUP)


def chain(moment_dtype):
    kernels = {name: name in KERNELS for name in KERNELS + OTHERS}
    slow = {name: name == SLOW for name in KERNELS + OTHERS}
    return optax.chain(
        optax.clip_by_global_norm(CLIP),
        optax.scale_by_adam(b2=BETA2, mu_dtype=moment_dtype),
        optax.scale(RATE),
        optax.masked(optax.scale(MULTIPLIER), slow),
        optax.add_decayed_weights(DECAY, kernels),
        optax.scale_by_schedule(schedule),
        optax.scale(-1.0),
    )


def run(start, gradients, moment_dtype):
    tx, parameters = chain(moment_dtype), {name: jnp.asarray(value) for name, value in start.items()}
    state, path = tx.init(parameters), []
    for gradient in gradients:
        updates, state = tx.update({name: jnp.asarray(value) for name, value in gradient.items()}, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        path.append({name: np.asarray(value, np.float64).tolist() for name, value in parameters.items()})
    return path


if __name__ == "__main__":
    rng = np.random.default_rng(20250214)
    f32 = lambda values: values.astype(np.float32).astype(np.float64)  # noqa: E731
    # The first values of each tensor; the test leaves the others without gradient.
    count = lambda name: 1 if name == "logit_bias" else 4  # noqa: E731
    start = {name: f32(rng.normal(size=count(name))) for name in KERNELS + OTHERS}
    # Some gradients are longer than the clipping norm and some are shorter.
    size = lambda step: 0.02 if step % 3 == 1 else 0.9  # noqa: E731
    gradients = [{name: f32(size(step) * rng.normal(size=count(name))) for name in start} for step in range(STEPS)]
    fixture = {
        "learning_rate": RATE, "weight_decay": DECAY, "clip_norm": CLIP, "beta2": BETA2, "slow": [SLOW, MULTIPLIER],
        "steps": STEPS, "warmup": WARMUP,
        "start": {name: value.tolist() for name, value in start.items()},
        "gradients": [{name: value.tolist() for name, value in gradient.items()} for gradient in gradients],
        "f32_moment": run(start, gradients, None),
        "bf16_moment": run(start, gradients, jnp.bfloat16),
        "schedule": [[step, float(schedule(step))] for step in range(STEPS + 1)],
    }
    path = pathlib.Path(__file__).parent / "fixtures" / "optimizer.json"
    path.write_text(json.dumps(fixture) + "\n")
    print(path, path.stat().st_size, "bytes")
