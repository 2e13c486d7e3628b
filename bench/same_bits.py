"""Record the bits of a fixed set of fits, and compare them with those of another state of the code.

`python -m bench.same_bits record FILE` before a change that must not alter results, `compare FILE` after it. Bits
depend on the machine and on versions, so that no record is tracked.
"""

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastgd import LinearRegression, LogisticRegression, minimize
from fastgd import optimizers as o
from fastgd import schedules as s

RULES = ("gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "amsgrad", "nadam", "adadelta", "adamw")
WHOLE = ("accelerated", "sketched_newton", "lbfgs")


def data(n: int, d: int, dtype: str = "f8", order: str = "C", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns of unequal units with some zeros, and margins."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, d)) @ (np.eye(d) + 0.3 * random.standard_normal((d, d)))
    X *= np.logspace(-1, 1, d)
    X[random.random((n, d)) < 0.2] = 0.0
    z = X @ (random.standard_normal(d) / X.std(axis=0))
    return np.asarray(X, dtype=dtype, order=order), z


def targets(kind: str, z: np.ndarray, seed: int = 1) -> np.ndarray:
    """Return targets with noise for a kind of model."""
    random = np.random.default_rng(seed)
    if kind == "binary":
        return (z + random.logistic(size=z.size) > 0).astype(int)
    if kind == "classes":
        return np.digitize(z + random.standard_normal(z.size), [-0.7, 0.8])
    noisy = z + random.standard_t(3, size=z.size)
    return np.stack([noisy, 3.0 - 2.0 * z + random.standard_normal(z.size)], axis=1) if kind == "targets" else noisy


def model(kind: str, **parameters: Any) -> Any:
    """Return an estimator for a kind of targets."""
    if kind in ("binary", "classes"):
        return LogisticRegression(**parameters)
    return LinearRegression("huber" if kind == "huber" else "squared", **parameters)


def fitted(kind: str, shape: tuple[int, int] = (1500, 7), form: str = "f8C", weighted: bool = False, **parameters: Any):
    """Return a fitted estimator."""
    X, z = data(*shape, form[:2], form[2])
    weights = np.random.default_rng(2).integers(0, 4, z.size).astype(float) if weighted else None
    return model(kind, random_state=3, **parameters).fit(X, targets(kind, z), sample_weight=weights)


def streamed(kind: str, rule: Any, **parameters: Any) -> Any:
    """Return an estimator that has seen five chunks of rows."""
    X, z = data(1500, 7)
    y = targets(kind, z)
    found = model(kind, random_state=3, optimizer=rule, **parameters)
    known = {"classes": np.unique(y)} if kind in ("binary", "classes") else {}
    for part in np.array_split(np.arange(z.size), 5):
        found.partial_fit(X[part], y[part], **known)
        known = {}
    return found


def cases() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every fit by name."""
    kinds = ("squared", "huber", "targets", "binary", "classes")
    for kind in kinds:
        yield f"{kind} auto", lambda k=kind: fitted(k, alpha=0.0)
        yield f"{kind} auto ridge", lambda k=kind: fitted(k, alpha=1e-2)
        yield f"{kind} auto net weighted", lambda k=kind: fitted(k, alpha=1e-2, l1_ratio=0.5, weighted=True)
        yield f"{kind} auto raw", lambda k=kind: fitted(k, alpha=1e-2, standardize=False, fit_intercept=False)
        yield f"{kind} auto f4F", lambda k=kind: fitted(k, form="f4F", alpha=1e-3)
        yield f"{kind} auto long", lambda k=kind: fitted(k, (30_000, 12), alpha=1e-6, tol=1e-6)
        yield f"{kind} auto long f4F weighted", lambda k=kind: fitted(k, (30_000, 12), "f4F", True, alpha=1e-5)
        yield f"{kind} auto long L1", lambda k=kind: fitted(k, (30_000, 12), alpha=1e-3, l1_ratio=1.0)
        yield f"{kind} early", lambda k=kind: fitted(k, optimizer="adam", early_stopping=True, weighted=True)
        for rule in WHOLE:
            yield f"{kind} {rule}", lambda k=kind, r=rule: fitted(k, alpha=1e-3, optimizer=r)
            if rule != "lbfgs":
                yield f"{kind} {rule} L1", lambda k=kind, r=rule: fitted(k, alpha=1e-2, l1_ratio=0.7, optimizer=r)
        for rule in RULES:
            yield f"{kind} {rule}", lambda k=kind, r=rule: fitted(k, optimizer=r, max_iter=4, batch_size=64)
            yield f"{kind} {rule} stream", lambda k=kind, r=rule: streamed(k, r, alpha=1e-3)
        for rule in ("gd", "adam", "momentum"):
            yield (
                f"{kind} {rule} net f4F",
                lambda k=kind, r=rule: fitted(
                    k, form="f4F", weighted=True, optimizer=r, alpha=1e-2, l1_ratio=0.5, max_iter=3, batch_size=100
                ),
            )
            yield (
                f"{kind} {rule} full",
                lambda k=kind, r=rule: fitted(k, optimizer=r, batch_size="full", max_iter=25, alpha=1e-3),
            )
        yield f"{kind} saga", lambda k=kind: fitted(k, optimizer="saga", max_iter=5, alpha=1e-2, l1_ratio=0.5)
    for search in ("backtracking", "exact"):
        rule = o.GradientDescent(line_search=search)
        yield f"line search {search}", lambda r=rule: fitted("binary", optimizer=r, batch_size="full", max_iter=20)
    for kind in ("squared", "targets"):
        yield f"{kind} normal equations", lambda k=kind: fitted(k, alpha=1e-2, optimizer="normal_equations")
    yield "positive", lambda: fitted("squared", positive=True)
    for schedule in (s.StepDecay(0.1), s.OneCycle(0.1), s.WarmUp(2, s.CosineDecay(0.1)), s.ReduceOnPlateau(0.1)):
        rule = o.Adam(learning_rate=schedule)
        yield f"{type(schedule).__name__}", lambda r=rule: fitted("binary", optimizer=r, max_iter=6, batch_size=64)
    separable = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    yield "separable", lambda: LogisticRegression(alpha=0.0).fit(separable, [0, 0, 1, 1])
    yield "collinear", lambda: LinearRegression().fit(np.ones((4, 2)) * np.arange(4.0)[:, None], [0.0, 1.0, 2.0, 4.0])
    for rule in (*RULES[:5], "accelerated", "lbfgs"):
        yield f"minimize {rule}", lambda r=rule: minimize(_bowl, np.array([1.5, -0.7]), optimizer=r, max_iter=300)


def _bowl(x: np.ndarray) -> float:
    return float((x[0] - 1.0) ** 4 + (x[0] - 2.0 * x[1]) ** 2)


def outcome(found: Any) -> dict[str, Any]:
    """Return what must not change: bits of parameters and history, and how the fit ended."""
    if hasattr(found, "fit_report_"):
        report = found.fit_report_
        numbers = [found.coef_, found.intercept_, *(v for k, v in found.history_.items() if k != "seconds")]
        ended = {name: report[name] for name in ("solver", "stopped_by", "converged", "passes", "collinear")}
        ended |= {"certificate": repr(report["certificate"]), "suboptimality": repr(report["suboptimality"])}
    else:
        numbers, ended = [found.x], {"nit": int(found.nit), "success": bool(found.success)}
    bits = hashlib.sha256(b"".join(np.ascontiguousarray(value, dtype=np.float64).tobytes() for value in numbers))
    return {"bits": bits.hexdigest()[:16], "coef": [float(v) for v in np.ravel(numbers[0])], **ended}


def outcomes() -> dict[str, dict[str, Any]]:
    """Run all fits."""
    found = {}
    for name, fit in cases():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = json.loads(json.dumps(outcome(fit())))
            except (ValueError, ArithmeticError) as error:
                found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def main() -> int:
    """Record or compare; 1 where a fit differs."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("action", choices=("record", "compare"))
    words.add_argument("file", type=Path)
    given = words.parse_args()
    found = outcomes()
    if given.action == "record":
        given.file.write_text(json.dumps(found, indent=1))
        print(f"{len(found)} fits recorded")
        return 0
    before = json.loads(given.file.read_text())
    different = [name for name in {**before, **found} if before.get(name) != found.get(name)]
    for name in different:
        print(f"{name}:\n  before {before.get(name)}\n  now    {found.get(name)}")
    print(f"{len(found)} fits, {len(different)} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
