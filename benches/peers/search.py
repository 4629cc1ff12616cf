"""FAISS and numpy over the vectors of a raw f32 file, one timed search at a time, for `cargo bench --bench search`.

    python benches/peers/search.py VECTORS THREADS     (pip install faiss-cpu numpy)

After the line "ready" it answers each line, "faiss", "numpy" or "faiss-f16", with the seconds of one search for the ten best of all vectors of 768
values. FAISS is `IndexFlatIP`, numpy a product and `argpartition`, both with f32, as they do by default; the last is FAISS' `IndexScalarQuantizer`
with f16.
"""

import os
import sys
import time

path, threads = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads

import faiss  # noqa: E402
import numpy as np  # noqa: E402

DIM, K = 768, 10
faiss.omp_set_num_threads(int(threads))
vectors = np.fromfile(path, dtype=np.float32).reshape(-1, DIM)
index = faiss.IndexFlatIP(DIM)
halves = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
halves.train(vectors[:1000])
# In parts, so that there are never three copies.
for start in range(0, len(vectors), 100_000):
    index.add(vectors[start : start + 100_000])
    halves.add(vectors[start : start + 100_000])
random = np.random.default_rng(7)


def query():
    values = random.standard_normal((1, DIM), dtype=np.float32)
    return values / np.linalg.norm(values)


def numpy_search(query):
    scores = vectors @ query[0]
    best = np.argpartition(-scores, K)[:K]
    return best[np.argsort(-scores[best])]


def faiss_search(query):
    return index.search(query, K)[1][0]


def halves_search(query):
    return halves.search(query, K)[1][0]


assert (numpy_search(first := query()) == faiss_search(first)).all()
print("ready", flush=True)
for line in sys.stdin:
    run, asked = {"faiss": faiss_search, "numpy": numpy_search, "faiss-f16": halves_search}[line.strip()], query()
    start = time.perf_counter()
    run(asked)
    print(time.perf_counter() - start, flush=True)
