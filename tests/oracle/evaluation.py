"""Scores of random embeddings by other people's code, for trainer/tests/evaluate.rs.

top-1 by scikit-learn; recall by numpy's argsort; Wilson intervals, McNemar's exact test and the bootstrap by SciPy.

Run: python tests/oracle/evaluation.py     (numpy 2.4, scipy 1.17, scikit-learn 1.9)
"""

import json
import pathlib

import numpy as np
from scipy import stats
from sklearn.metrics import top_k_accuracy_score

FILE = pathlib.Path(__file__).resolve().parent / "fixtures" / "evaluation.json"
IMAGES, CLASSES, DIM = 60, 12, 8


def unit(rows: np.ndarray) -> np.ndarray:
    """Unit rows, rounded so that the file stays small; what is written is what is scored."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).round(4).astype(np.float32)


def recall(queries: np.ndarray, candidates: np.ndarray, right: list[set[int]], k: int) -> list[bool]:
    order = np.argsort(-(queries.astype(np.float64) @ candidates.astype(np.float64).T), axis=1, kind="stable")
    return [bool(right[i] & set(order[i, :k].tolist())) for i in range(len(right))]


def wilson(hits: list[bool]) -> list[float]:
    interval = stats.binomtest(sum(hits), len(hits)).proportion_ci(0.95, method="wilson")
    return [sum(hits) / len(hits), interval.low, interval.high]


def over_images(hits: list[bool], owners: list[int]) -> list[float]:
    sums = np.bincount(owners, weights=np.array(hits, float), minlength=IMAGES)
    counts = np.bincount(owners, minlength=IMAGES)
    ratio = lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis)
    result = stats.bootstrap((sums, counts), ratio, paired=True, vectorized=True, method="percentile", n_resamples=50_000, rng=2)
    return [sum(hits) / len(hits), result.confidence_interval.low, result.confidence_interval.high]


def main() -> None:
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(CLASSES, DIM))
    labels = rng.integers(0, CLASSES, IMAGES)
    images = unit(centers[labels] + 0.7 * rng.normal(size=(IMAGES, DIM)))
    classes = unit(centers)
    similarity = images.astype(np.float64) @ classes.astype(np.float64).T
    top_1 = [bool(similarity[i].argmax() == labels[i]) for i in range(IMAGES)]
    assert np.isclose(np.mean(top_1), top_k_accuracy_score(labels, similarity, k=1, labels=np.arange(CLASSES)))

    owners = np.sort(np.concatenate([np.arange(IMAGES), rng.integers(0, IMAGES, IMAGES // 2)])).tolist()
    captions = unit(images[owners] + 0.35 * rng.normal(size=(len(owners), DIM)))
    mine = [{j for j, owner in enumerate(owners) if owner == i} for i in range(IMAGES)]
    text_to_image = {k: recall(captions, images, [{owner} for owner in owners], k) for k in (1, 5, 10)}
    image_to_text = {k: recall(images, captions, mine, k) for k in (1, 5, 10)}
    # Of all ways to choose k captions, those that miss an image's own.
    chance = [float(np.mean([1 - stats.hypergeom(len(owners), len(own), k).pmf(0) for own in mine])) for k in (1, 5, 10)]

    a, b = rng.random(IMAGES) < 0.6, rng.random(IMAGES) < 0.4
    difference = stats.bootstrap((a - b.astype(float),), np.mean, method="percentile", n_resamples=50_000, rng=3).confidence_interval
    pairs = [(0, 0), (1, 0), (5, 5), (3, 11), (40, 20), (900, 1000), (2000, 0)]
    mcnemar = [[x, y, stats.binomtest(min(x, y), x + y).pvalue if x + y else 1.0] for x, y in pairs]

    rows = lambda values: [float(value) for value in values.ravel()]
    FILE.write_text(json.dumps({
        "dim": DIM, "images": rows(images), "classes": rows(classes), "labels": labels.tolist(), "zero_shot": wilson(top_1),
        "captions": rows(captions), "owners": owners,
        "text_to_image": [over_images(text_to_image[k], owners) for k in (1, 5, 10)],
        "image_to_text": [wilson(image_to_text[k]) for k in (1, 5, 10)],
        "image_to_text_chance": chance,
        "paired": {"a": a.astype(float).tolist(), "b": b.astype(float).tolist(), "low": difference.low, "high": difference.high},
        "mcnemar": mcnemar,
    }))


if __name__ == "__main__":
    main()
