"""What views of patch features must give: tests/oracle/fixtures/dense.safetensors.

    python tests/oracle/dense.py            # after models.py, whose checkpoints it reads; seconds

Ran with Python 3.11+, numpy 2.4, torch 2.15.0, transformers 5.23.0. Every number is seeded and computed in float64.

Features of a picture of 7 x 9 patches with 40 channels: three blobs, a slope, noise, and one channel 200 times as large as the others.

    features [63,40]                   as float32; the views below are of these rounded values
    pca [63,3] · variances [3]         numpy.linalg.svd of the centred features, signs as in scikit-learn's svd_flip by components
    similar [63]                       cosine to patch 20
    kmeans [63] i32                    of rows of unit length, 4 groups, started from far rows, groups by falling size
    bilinear [30,50,3] · nearest       the first three channels at 30 x 50 pixels, by torch.nn.functional.interpolate
    small [3,4,3]                      the same at 3 x 4 pixels, bilinear, without antialiasing
    tokens.NAME [R,D]                  for checkpoints NAME: rows of last_hidden_state.k, each alone through the pooling head, at unit length
    things [60,3]                      pca of the patches of naflex's case 0 that are foreground, NaN for the others: those on the other side of the
                                       mean along the first component than most along the border
    case.NAME [1] i32                  k, the only case of NAME whose rows are all kept
"""

import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
ROWS, COLS, WIDTH = 7, 9, 40


def make_features() -> np.ndarray:
    rng = np.random.default_rng(12)
    y, x = np.mgrid[0:ROWS, 0:COLS]
    features = 0.3 * rng.standard_normal((ROWS, COLS, WIDTH)) + rng.standard_normal(WIDTH)
    for centre, size in (((1, 2), 1.5), ((5, 3), 1.2), ((3, 7), 1.8)):
        blob = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * size**2))
        features += 2.5 * blob[..., None] * rng.standard_normal(WIDTH)
    features += (x / COLS)[..., None] * rng.standard_normal(WIDTH)
    features[..., 17] *= 200
    return features.reshape(-1, WIDTH).astype(np.float32)


def pca(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    centred = features - features.mean(0)
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    return centred @ components[:count].T, singular[:count] ** 2 / (len(features) - 1)


def things(name: str) -> np.ndarray:
    """Case 0 of a checkpoint, all of whose patches are kept."""
    expected = load_file(FIXTURES / "models" / name / "expected.safetensors")
    features, (rows, cols) = expected["last_hidden_state.0"].astype(np.float64), expected["grid"][0]
    first = pca(features, 1)[0][:, 0]
    assert np.abs(first).min() > 1e-3 * np.abs(first).max(), "a patch on the border between both sides would make a test of rounding"
    inner = np.zeros((rows, cols), dtype=bool)
    inner[1:-1, 1:-1] = True
    border = first[~inner.ravel()] > 0
    foreground = (first > 0) == (2 * border.sum() < len(border))
    coordinates = np.full((len(features), 3), np.nan)
    coordinates[foreground] = pca(features[foreground], 3)[0]
    return coordinates


def kmeans(features: np.ndarray, count: int) -> np.ndarray:
    """Lloyd's algorithm from the farthest row from the mean, then from the farthest from all chosen."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    centres = [rows[((rows - rows.mean(0)) ** 2).sum(1).argmax()]]
    while len(centres) < count:
        centres.append(rows[((rows[:, None] - np.array(centres)) ** 2).sum(2).min(1).argmax()])
    centres, before = np.array(centres), None
    while True:
        group = ((rows[:, None] - centres) ** 2).sum(2).argmin(1)
        if before is not None and (group == before).all():
            break
        centres, before = np.array([rows[group == g].mean(0) for g in range(count)]), group
    order = sorted(range(count), key=lambda g: (-(group == g).sum(), (group == g).argmax()))
    return np.array([order.index(g) for g in group], dtype=np.int32)


def resized(features: np.ndarray, height: int, width: int, mode: str) -> np.ndarray:
    maps = torch.from_numpy(features[:, :3].reshape(ROWS, COLS, 3)).permute(2, 0, 1)[None]
    options = {} if mode == "nearest-exact" else {"align_corners": False}
    return torch.nn.functional.interpolate(maps, (height, width), mode=mode, **options)[0].permute(1, 2, 0).numpy()


def tokens_alone(name: str) -> tuple[np.ndarray, int]:
    """The pooling head on every kept token of the picture whose tokens are all kept."""
    folder = FIXTURES / "models" / name
    expected = load_file(folder / "expected.safetensors")
    tokens = {key: len(rows) for key, rows in expected.items() if key.startswith("attention.")}
    case = next(int(key.split(".")[1]) for key, count in tokens.items() if len(expected[f"rows.{key.split('.')[1]}"]) == count)
    hidden = torch.from_numpy(expected[f"last_hidden_state.{case}"]).double()
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).double().eval()
    with torch.no_grad():
        # One token is all that the probe can look at. NaFlex heads take a mask beside.
        masks = (torch.ones(len(hidden), 1),) if "naflex" in name or name == "outlier" else ()
        pooled = model.vision_model.head(hidden[:, None], *masks)
    return torch.nn.functional.normalize(pooled, dim=-1).numpy(), case


def main() -> None:
    stored = make_features()
    features = stored.astype(np.float64)
    coordinates, variances = pca(features, 3)
    query = features[20]
    values = {
        "pca": coordinates,
        "variances": variances,
        "similar": features @ query / (np.linalg.norm(features, axis=1) * np.linalg.norm(query)),
        "bilinear": resized(features, 30, 50, "bilinear"),
        "nearest": resized(features, 30, 50, "nearest-exact"),
        "small": resized(features, 3, 4, "bilinear"),
        "things": things("naflex"),
    }
    whole = {"kmeans": kmeans(features, 4)}
    for name in ("naflex", "fixed14", "outlier"):
        values[f"tokens.{name}"], case = tokens_alone(name)
        whole[f"case.{name}"] = np.array([case], dtype=np.int32)
    arrays = {"features": stored} | {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()} | whole
    save_file(arrays, FIXTURES / "dense.safetensors")
    print({key: value.shape for key, value in arrays.items()})


if __name__ == "__main__":
    main()
