"""Makes tests/oracle/fixtures/balance.json: weights that balance small data sets, as scipy's SLSQP finds them.

minimise  ½ mean (w − 1)² + price · Σ beyond   over   0 ≤ w ≤ most, beyond ≥ 0   such that   ±mean w b_j − tolerance · mean w ≤ beyond_j±

where b_j is the deviation of an attribute from its target, alone and times each concept; what is not known of an attribute deviates by nothing.

Run: python trainer/tests/oracle/balance.py     (numpy 2.4.6, scipy 1.17.1)
"""

import json
import pathlib

import numpy as np
import scipy.optimize

PROBLEMS, EXAMPLES = 20, 60


def problem(random):
    attributes, concepts = random.integers(1, 3), random.integers(0, 4)
    likely = random.uniform(0.2, 0.8, attributes)
    y = (random.random((EXAMPLES, concepts)) < random.uniform(0.1, 0.5, concepts)).astype(float)
    # Attributes that go together with the concepts.
    lean = y @ random.uniform(-0.4, 0.4, (concepts, attributes)) if concepts else 0.0
    s = (random.random((EXAMPLES, attributes)) < np.clip(likely + lean, 0.05, 0.95)).astype(float)
    s[random.random(s.shape) < 0.1] = np.nan
    bounds = {"tolerance": float(random.choice([0.0, 0.01, 0.05])), "most": float(random.choice([1.0, 3.0])), "price": float(random.choice([1.0, 5.0, 100.0]))}
    targets = random.choice([0.3, 0.5], attributes)
    return s, y, targets, bounds


def moments(s, y, targets):
    deviations = np.nan_to_num(s - targets)
    return np.concatenate([np.concatenate([d[:, None], d[:, None] * y], axis=1) for d in deviations.T], axis=1)


def solve(b, tolerance, most, price):
    n, j = b.shape
    signed = np.concatenate([b - tolerance, -b - tolerance], axis=1)

    def objective(x):
        return 0.5 * np.mean((x[:n] - 1) ** 2) + price * x[n:].sum()

    def gradient(x):
        return np.concatenate([(x[:n] - 1) / n, np.full(2 * j, price)])

    constraint = {"type": "ineq", "fun": lambda x: x[n:] - signed.T @ x[:n] / n, "jac": lambda x: np.concatenate([-signed.T / n, np.eye(2 * j)], axis=1)}
    start = np.concatenate([np.ones(n), np.maximum(0, signed.mean(axis=0))])
    found = scipy.optimize.minimize(objective, start, jac=gradient, bounds=[(0, most)] * n + [(0, None)] * (2 * j), constraints=[constraint],
                                    method="SLSQP", options={"ftol": 1e-12, "maxiter": 2000})
    assert found.success, found.message
    return found.fun, found.x[:n]


def main():
    random, problems = np.random.default_rng(0), []
    for _ in range(PROBLEMS):
        s, y, targets, bounds = problem(random)
        value, weights = solve(moments(s, y, targets), **bounds)
        known = [[None if np.isnan(v) else int(v) for v in row] for row in s]
        problems.append({"attributes": known, "concepts": y.astype(int).tolist(), "targets": targets.tolist(), **bounds, "objective": value,
                         "weights": [round(float(w), 4) for w in weights]})
    path = pathlib.Path(__file__).parent / "fixtures/balance.json"
    path.write_text(json.dumps(problems, separators=(",", ":")) + "\n")
    print([round(p["objective"], 5) for p in problems])


if __name__ == "__main__":
    main()
