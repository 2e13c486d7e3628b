"""Reference optima of the problem set "real" in float64, independent of fastgd: ``python -m bench.real_optima``.

Newton's method on standardised columns with the exact Hessian matrix, for elastic nets with coordinate descent inside.
Without a penalty columns are orthogonalised first, and a separating direction is searched by a linear program over the
flat directions of the Hessian matrix. Writes ``bench/results/real_optima.json``; optima found before are kept.
"""

import argparse
import json
import re
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.optimize import linprog

from bench.optimum import coordinate_descent, curvatures, duality_gap, find_optimum
from bench.real_cases import Case, cases
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.result import RESULTS

PATH = RESULTS / "real_optima.json"
_STEPS, _SWEEPS, _ROUNDS, _CROSSINGS = 80, 200, 20, 100
#: Goal for the suboptimality, as a share of the distance between the constant model and the optimum.
_PRECISION = 1e-10
#: Singular values below this share of the largest one are rounding.
_RANK = 1e-12
#: Eigenvalues below this share of the largest one may belong to directions that separate rows.
_FLAT = 1e-6
_FLATTENING_STEPS = 15
#: With more parameters than this the Hessian matrix is avoided or restricted to those that are not zero.
_MANY = 2_000
#: A separating direction changes other rows by at most this share: flat directions are known to some digits only.
_TOLERANCE = 1e-5
_BLOCK_ROWS = 1 << 14


class Optimum(NamedTuple):
    """F*, or the infimum of F; F of the constant model; a bound on the error of F*; the method.

    left: the squared Newton decrement or, if smaller, the duality gap, which is a bound up to the intercept's share.
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

    def hessian(self, z: Floats, free: NDArray[np.bool_]) -> Floats:
        """Return the second derivative of F without L1 in the free parameters, row by row of theta."""
        outputs, units = z.shape[1], np.eye(z.shape[1])
        curves = [self.objective.loss.curve(z, units[k : k + 1]) * np.ones_like(z) for k in range(outputs)]
        columns = [np.flatnonzero(row) for row in free]
        ends = np.cumsum([0, *map(len, columns)])
        matrix = np.zeros((ends[-1], ends[-1]))
        for start in range(0, len(z), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            parts = [self.X[rows][:, chosen] for chosen in columns]
            for k in range(outputs):
                for other in range(k + 1):
                    block = (parts[k].T * curves[k][rows, other]) @ parts[other]
                    matrix[ends[k] : ends[k + 1], ends[other] : ends[other + 1]] += block
        matrix = (np.tril(matrix) + np.tril(matrix, -1).T) / len(z)
        matrix[np.diag_indices(len(matrix))] += self.l2[free]
        return matrix

    def left(self, theta: Floats, z: Floats, g: Floats) -> float:
        """Return the duality gap in w plus the estimate g^2 / (2 h) of the intercepts' share."""
        gap = duality_gap(theta[:, :-1], g[:, :-1], self.l1[:, :-1], self.l2[:, :-1])
        return gap + float(np.sum(g[:, -1] ** 2 / (2.0 * curvatures(self.objective, z).mean(axis=0))))


def find(objective: Objective) -> Optimum:
    """Minimise an objective, or approach its infimum."""
    if np.prod(objective.shape) > _MANY and not objective.l1:
        return _find_large(objective)
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
        free = np.ones(theta.shape, dtype=bool)
        if theta.size > _MANY:
            free = (theta != 0.0) | (np.abs(g) > columns.l1) | (columns.l1 == 0.0)
        if not matrix.size or objective.task != "linear":
            matrix = columns.hessian(z, free)
        step, decrement = _step(columns, theta, g, matrix, free)
        left = min(max(columns.left(theta, z, g), 0.0), decrement) if objective.alpha else decrement
        if left <= _PRECISION * (constant - value):
            break
        theta, z, lower = _descend(columns, theta, z, value, step)
        if lower >= value:
            break  # at the limit of float64; `left` says how good it is
        value = lower
    method = "proximal Newton" if objective.l1 else "Newton"
    attained = objective.task == "linear" or bool(objective.alpha) or not _has_recession(columns, theta, z)
    return Optimum(value, constant, left, attained, method)


def _find_large(objective: Objective) -> Optimum:
    """Minimise by conjugate gradients inside; without a penalty only if a slightly penalised model separates rows.

    Raises
    ------
    ArithmeticError
        If it does not.
    """
    found = find_optimum(objective if objective.alpha else replace(objective, alpha=1e-2 / len(objective.y)))
    if objective.alpha:
        return Optimum(found.value, objective.constant, found.left, True, "Newton, conjugate gradients")
    if not _separates(objective, objective.margins(found.theta)):
        raise ArithmeticError("many parameters without a penalty, and rows that are not separated")
    return Optimum(0.0, objective.constant, 0.0, False, "all rows separated")


def _separates(objective: Objective, z: Floats) -> bool:
    if objective.task == "linear":
        return False
    if objective.task == "logistic":
        return bool((objective.y * z > 0.0).all())
    own = np.where(objective.y > 0.0, z, -np.inf).max(axis=1)
    return bool((own > np.where(objective.y > 0.0, -np.inf, z).max(axis=1)).all())


def _step(columns: _Columns, theta: Floats, g: Floats, matrix: Floats, free: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Return the step to the minimum of the quadratic model, and the squared Newton decrement."""
    step, slope = np.zeros_like(theta), (g + columns.l2 * theta)[free]
    if not columns.objective.alpha:
        values, vectors = eigh(matrix)
        kept = values > _RANK * values[-1]
        parts = slope @ vectors[:, kept]
        step[free] = -vectors[:, kept] @ (parts / values[kept])
        return step, float(np.sum(parts**2 / values[kept]))
    start, l1 = theta[free], columns.l1[free]
    step[free] = _proximal(matrix, slope, start, l1) if l1.any() else _solve(matrix, -slope)
    return step, _decrement(matrix, slope, start, start + step[free], l1)


def _decrement(matrix: Floats, slope: Floats, start: Floats, point: Floats, l1: Floats) -> float:
    """Return twice the decrease of the quadratic model and what its gradient at the point still promises."""
    moved = point - start
    decrease = -slope @ moved - 0.5 * moved @ matrix @ moved - l1 @ (np.abs(point) - np.abs(start))
    at, support = slope + matrix @ moved, np.flatnonzero((point != 0.0) | (l1 == 0.0))
    rest = at[support] + l1[support] * np.sign(point[support])
    if (np.abs(at) > l1 * (1.0 + 1e-6))[point == 0.0].any():
        return np.inf
    return float(2.0 * abs(decrease) + abs(rest @ _solve(matrix[np.ix_(support, support)], rest)))


def _proximal(matrix: Floats, slope: Floats, start: Floats, l1: Floats) -> Floats:
    """Return the step to the minimum by coordinate descent and, alternately, Newton's method within signs."""
    point = start.copy()
    for _ in range(_ROUNDS):
        done = coordinate_descent(matrix, slope + matrix @ (point - start), point, l1, _SWEEPS)
        if done or len(point) > _MANY:
            break  # with many parameters the next model continues
        for _ in range(_CROSSINGS):
            at = slope + matrix @ (point - start)
            support = np.flatnonzero((point != 0.0) | (l1 == 0.0))
            signs = np.sign(point[support])
            move = _solve(matrix[np.ix_(support, support)], -at[support] - l1[support] * signs)
            crossing = (l1[support] > 0.0) & ((point[support] + move) * signs < 0.0)
            if not crossing.any():
                break
            lengths = np.where(crossing, -point[support] / np.where(crossing, move, 1.0), np.inf)
            first = lengths.argmin()
            point[support] += lengths[first] * move
            point[support[first]] = 0.0
        else:
            continue
        point[support] += move
        at = slope + matrix @ (point - start)
        if (np.abs(at[point == 0.0]) <= l1[point == 0.0] * (1.0 + 1e-9)).all():
            break
    return point - start


def _solve(matrix: Floats, right: Floats) -> Floats:
    """Solve with a positive matrix scaled to a diagonal of ones, in two steps of refinement."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale * scale[:, None]
    factor = cho_factor(scaled + 1e-13 * np.eye(len(matrix)))
    found = cho_solve(factor, right * scale)
    for _ in range(2):
        found += cho_solve(factor, right * scale - scaled @ found)
    return found * scale


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


def _has_recession(columns: _Columns, theta: Floats, z: Floats) -> bool:
    """Return whether a flat direction of F leaves no row worse and makes one better, by a linear program.

    Further Newton steps, each of which lowers the curvature of separated rows e times, flatten such directions.
    """
    free = np.ones(theta.shape, dtype=bool)
    for _ in range(_FLATTENING_STEPS):
        matrix = columns.hessian(z, free)
        theta = theta + _step(columns, theta, columns.gradient(z), matrix, free)[0]
        z = columns.X @ theta.T
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
