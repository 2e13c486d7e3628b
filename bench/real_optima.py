"""Reference optima of the problem set "real" in float64, independent of fastgd: ``python -m bench.real_optima``.

Newton's method on standardised columns with the exact Hessian matrix, for elastic nets with coordinate descent inside.
Without a penalty columns are orthogonalised first, and a separating direction is searched by a linear program over the
flat directions of the Hessian matrix. Writes ``bench/results/real_optima.json``; optima found before are kept.
"""

import argparse
import json
import re
import time
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.optimize import linprog

from bench.real_cases import Case, cases
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.result import RESULTS

PATH = RESULTS / "real_optima.json"
_STEPS, _SWEEPS = 80, 500
#: Goal for the suboptimality, as a share of the distance between the constant model and the optimum.
_PRECISION = 1e-10
#: Singular values below this share of the largest one are rounding.
_RANK = 1e-12
#: Eigenvalues below this share of the largest one may belong to directions that separate rows.
_FLAT = 1e-6
#: A separating direction changes other rows by at most this share: flat directions are known to some digits only.
_TOLERANCE = 1e-5
_BLOCK_ROWS = 1 << 14


class Optimum(NamedTuple):
    """F*, or the infimum of F; F of the constant model; a bound on the error of F*; the method.

    left: with a penalty the duality gap, which is a bound up to the intercept's share, else the Newton decrement.
    attained: whether F has a minimum, that is, no direction separates rows without a penalty.
    """

    value: float
    constant: float
    left: float
    attained: bool
    method: str


class _Columns:
    """Standardised columns with a column of ones and the weights of penalties; orthogonal ones without a penalty."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.y = objective, objective.y
        self.means, self.scales = objective.X.mean(axis=0), objective.X.std(axis=0)
        X, self.scales = (objective.X - self.means)[:, self.scales > 0.0], self.scales[self.scales > 0.0]
        X /= self.scales
        if not objective.alpha:
            left, values, _ = np.linalg.svd(X, full_matrices=False)
            X = left[:, values > _RANK * values[0]] * np.sqrt(len(X))
        self.X = np.column_stack([X, np.ones(len(X))])
        outputs = objective.shape[0]
        weights = np.append(1.0 / self.scales, 0.0) if objective.alpha else np.zeros(self.X.shape[1])
        self.l1 = np.tile(objective.l1 * weights, (outputs, 1))
        self.l2 = np.tile(objective.l2 * weights**2, (outputs, 1))

    def value(self, theta: Floats, z: Floats) -> float:
        penalty = self.l1 * np.abs(theta) + 0.5 * self.l2 * theta**2
        return float(self.objective.loss.value(z, self.y).mean() + penalty.sum())

    def gradient(self, z: Floats) -> Floats:
        """Return the gradient of the mean loss (K, d + 1)."""
        return self.objective.loss.slope(z, self.y).T @ self.X / len(z)

    def hessian(self, z: Floats) -> Floats:
        """Return the second derivative of F without L1 (K (d + 1), K (d + 1))."""
        outputs, width = z.shape[1], self.X.shape[1]
        total = np.zeros((outputs, width, outputs, width))
        units = np.eye(outputs)
        curves = [self.objective.loss.curve(z, units[k : k + 1]) * np.ones_like(z) for k in range(outputs)]
        for start in range(0, len(z), _BLOCK_ROWS):
            X = self.X[start : start + _BLOCK_ROWS]
            for k in range(outputs):
                for other in range(k + 1):
                    total[k, :, other] += (X.T * curves[k][start : start + _BLOCK_ROWS, other]) @ X
        for k in range(outputs):
            for other in range(k):
                total[other, :, k] = total[k, :, other]
        matrix = total.reshape(outputs * width, -1) / len(z)
        matrix[np.diag_indices(len(matrix))] += self.l2.ravel()
        return matrix

    def left(self, theta: Floats, z: Floats, g: Floats) -> float:
        """Return the duality gap in w plus the estimate g^2 / (2 h) of the intercepts' share."""
        w, l1, l2 = theta[:, :-1], self.l1[:, :-1], self.l2[:, :-1]
        slope = g[:, :-1]
        gap = l1 * np.abs(w) + 0.5 * l2 * w**2 + w * slope + np.maximum(np.abs(slope) - l1, 0.0) ** 2 / (2.0 * l2)
        units = np.eye(len(theta))
        curves = [
            (self.objective.loss.curve(z, units[k : k + 1])[:, k] * np.ones(len(z))).mean() for k in range(len(g))
        ]
        return float(gap.sum() + np.sum(g[:, -1] ** 2 / (2.0 * np.array(curves))))


def find(objective: Objective) -> Optimum:
    """Minimise an objective, or approach its infimum."""
    columns = _Columns(objective)
    theta = np.zeros((objective.shape[0], columns.X.shape[1]))
    theta[:, -1] = objective.constant_theta()[:, -1]
    z = columns.X @ theta.T
    value = columns.value(theta, z)
    constant, left, matrix = value, np.inf, np.empty(0)
    for _ in range(_STEPS):
        if not objective.alpha and _separates(objective, z):
            return Optimum(0.0, constant, 0.0, False, "all rows separated")
        g = columns.gradient(z)
        if objective.alpha:
            left = max(columns.left(theta, z, g), 0.0)
            if left <= _PRECISION * (constant - value):
                break
        if not matrix.size or objective.task != "linear":
            matrix = columns.hessian(z)
        step, decrement = _step(columns, theta, g, matrix)
        if not objective.alpha:
            left = decrement
            if left <= _PRECISION * (constant - value):
                break
        theta, z, lower = _descend(columns, theta, z, value, step)
        if lower >= value:
            break  # at the limit of float64; `left` says how good it is
        value = lower
    method = "proximal Newton" if objective.l1 else "Newton"
    attained = objective.task == "linear" or bool(objective.alpha) or not _has_recession(columns, z, matrix)
    return Optimum(value, constant, left, attained, method)


def _separates(objective: Objective, z: Floats) -> bool:
    if objective.task == "linear":
        return False
    if objective.task == "logistic":
        return bool((objective.y * z > 0.0).all())
    own = np.where(objective.y > 0.0, z, -np.inf).max(axis=1)
    return bool((own > np.where(objective.y > 0.0, -np.inf, z).max(axis=1)).all())


def _step(columns: _Columns, theta: Floats, g: Floats, matrix: Floats) -> tuple[Floats, float]:
    """Return the step to the minimum of the quadratic model and, without a penalty, the squared decrement."""
    flat = (g + columns.l2 * theta).ravel()
    if not columns.objective.alpha:
        values, vectors = eigh(matrix)
        kept = values > _RANK * values[-1]
        parts = flat @ vectors[:, kept]
        step = -vectors[:, kept] @ (parts / values[kept])
        return step.reshape(theta.shape), float(np.sum(parts**2 / values[kept]))
    if not columns.objective.l1:
        return _solve(matrix, -flat).reshape(theta.shape), np.inf
    point, l1 = theta.ravel().copy(), columns.l1.ravel()
    _coordinate_descent(matrix, flat.copy(), point, l1, _SWEEPS)
    moved = point - theta.ravel()
    support = np.flatnonzero((point != 0.0) | (l1 == 0.0))
    signs = np.sign(point[support])
    rest = flat[support] + l1[support] * signs + matrix[np.ix_(support, support)] @ moved[support]
    fixed = np.setdiff1d(np.flatnonzero(moved), support)
    rest += matrix[np.ix_(support, fixed)] @ moved[fixed]
    polished = point[support] + _solve(matrix[np.ix_(support, support)], -rest)
    if (polished * signs >= 0.0).all():
        moved[support] = polished - theta.ravel()[support]
    return moved.reshape(theta.shape), np.inf


def _solve(matrix: Floats, right: Floats) -> Floats:
    """Solve with a positive matrix scaled to a diagonal of ones, in two steps of refinement."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale * scale[:, None]
    factor = cho_factor(scaled + 1e-13 * np.eye(len(matrix)))
    found = cho_solve(factor, right * scale)
    for _ in range(2):
        found += cho_solve(factor, right * scale - scaled @ found)
    return found * scale


@njit(cache=False)
def _coordinate_descent(matrix, slope, point, l1, sweeps):  # type: ignore[no-untyped-def]
    """Minimise slope . (u - point) + (u - point)' matrix (u - point) / 2 + l1 |u| over u, in place."""
    for _ in range(sweeps):
        largest, total = 0.0, 0.0
        for j in range(len(point)):
            h = matrix[j, j]
            if h <= 0.0:
                continue
            middle = point[j] - slope[j] / h
            new = np.sign(middle) * max(abs(middle) - l1[j] / h, 0.0)
            moved = new - point[j]
            if moved != 0.0:
                point[j] = new
                slope += moved * matrix[j]
                largest = max(largest, moved * moved * h)
            total += new * new * h
        if largest <= 1e-22 * total:
            break


def _descend(columns: _Columns, theta: Floats, z: Floats, value: float, step: Floats) -> tuple[Floats, Floats, float]:
    """Take a step, halved until it lowers F."""
    dz = columns.X @ step.T
    for halvings in range(40):
        size = 0.5**halvings
        trial = theta + size * step
        found = columns.value(trial, z + size * dz)
        if found < value:
            return trial, columns.X @ trial.T, found
    return theta, z, value


def _has_recession(columns: _Columns, z: Floats, matrix: Floats) -> bool:
    """Return whether a flat direction of F leaves no row worse and makes one better, by a linear program."""
    values, vectors = eigh(matrix)
    flat = vectors[:, values <= _FLAT * values[-1]].T.reshape(-1, *columns.l1.shape)
    if not len(flat):
        return False
    changes = np.stack([columns.X @ one.T for one in flat], axis=-1)  # (n, K, directions)
    if z.shape[1] == 1:
        gains = changes[:, 0] * columns.y
    else:
        own = changes[columns.y > 0.0]
        gains = (own[:, None] - changes)[columns.y == 0.0]
    gains = gains[np.abs(gains).max(axis=1) > 1e-9 * np.abs(gains).max()]
    gains = np.unique(gains.round(12), axis=0)
    scale = np.abs(gains).max()
    if scale < 1e-6:
        return False
    total = gains.sum(axis=0) / scale
    allowed = np.full(len(gains), _TOLERANCE)
    found = linprog(-total / np.abs(total).max(), A_ub=-gains / scale, b_ub=allowed, bounds=(-1.0, 1.0))
    if found.x is None:
        return False
    gained = gains @ found.x / scale
    return bool(gained.max() > 1e3 * _TOLERANCE and gained.min() > -2.0 * _TOLERANCE)


def read() -> dict[str, Optimum]:
    """Return the tracked optima by the key of their case."""
    if not PATH.exists():
        return {}
    return {key: Optimum(**entry) for key, entry in json.loads(PATH.read_text(encoding="utf-8")).items()}


def write(optima: dict[str, Optimum]) -> None:
    """Write all optima, sorted by key."""
    entries = (f" {json.dumps(key)}: {json.dumps(optima[key]._asdict())}" for key in sorted(optima))
    PATH.write_text("{\n" + ",\n".join(entries) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Find the optima of the chosen cases that are not tracked yet."""
    parser = argparse.ArgumentParser(prog="python -m bench.real_optima", description=__doc__)
    parser.add_argument("--case", default="", metavar="PATTERN", help="regular expression for the names of cases")
    parser.add_argument("--again", action="store_true", help="also find those that are tracked")
    options = parser.parse_args()
    for case in cases():
        if case.dtype != "f8" or not re.search(options.case, case.name):
            continue
        if case.key not in read() or options.again:
            _find_and_write(case)


def _find_and_write(case: Case) -> None:
    objective = case.objective()
    began = time.perf_counter()
    optimum = find(objective)
    write(read() | {case.key: optimum})
    share = optimum.left / (optimum.constant - optimum.value)
    words = "" if optimum.attained else ", no optimum"
    print(
        f"{case.key}: {optimum.value:.12g} of {optimum.constant:.6g}, +- {share:.1e}{words}, "
        f"{time.perf_counter() - began:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
