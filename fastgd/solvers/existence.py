"""Check whether a classifier without penalty and with many parameters is near an optimum.

Probabilities inside the simplex, for every row, whose residuals are orthogonal to all columns prove an optimum (see
`separation`). A Newton step that changes no margin by 1 yields them: here by conjugate gradients, up to their
tolerance, which need no matrix of the parameters.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import linalg

from fastgd.arrays import Array
from fastgd.objective.objective import Objective
from fastgd.solvers import separation
from fastgd.solvers.separation import SMALL, AllRows, Rows

#: Most Newton steps from the end of the fit, and from zeros if extreme probabilities at the end make those fail.
_FROM_END, _FROM_ZEROS = 8, 16
#: Most conjugate gradient iterations per step, and their relative residual: far below that of the fit, since a
#: direction that separates a few rows appears late.
_ITERATIONS, _RESIDUAL = 60, 1e-5
#: Most halvings of a Newton step, and curvature relative to the largest below which a coordinate is not scaled.
_HALVINGS, _FLAT = 20, 1e-12
#: Most multiplications (rows classes columns^2) for a curvature: about a second.
_MOST_PRODUCTS = 2e10
#: Most numbers of standardised rows to keep.
_KEPT_NUMBERS = 1 << 25


def may_lack_optimum(objective: Objective, theta: Array) -> bool:
    """Whether an optimum is in doubt: with more than 500 parameters, if Newton steps from theta prove none.

    An optimum on some of the rows suffices as a proof. None is tried on sparse rows with too many zeros to read.
    """
    data = AllRows(objective)
    if data.parameters <= separation.MOST_PARAMETERS:
        return False
    if not objective.can_be_dense:
        return True
    start = data.start(theta)
    rows, whole = data.first()
    if _has_optimum(_Passes(lambda: iter((rows,)), True, data.classes), start, len(rows.x)):
        return False
    n = objective.data.n
    passes = _Passes(data.blocks, n * data.columns <= _KEPT_NUMBERS, data.classes)
    return whole or not _has_optimum(passes, start, n)


class _Passes:
    """Passes over blocks of rows and the probabilities (m, K) of their classes, kept or computed anew."""

    def __init__(self, blocks: Callable[[], Iterator[Rows]], keep: bool, classes: int) -> None:
        self.classes = classes
        self._blocks = list(blocks()) if keep else None
        self._made = blocks
        self._points: list[tuple[Rows, Array]] | None = None
        self._at = np.zeros(0)

    def move(self, at: Array) -> None:
        """Set the parameters (K, D)."""
        self._at = at
        self._points = None if self._blocks is None else list(self._new())

    def __iter__(self) -> Iterator[tuple[Rows, Array]]:
        return self._new() if self._points is None else iter(self._points)

    def value(self, at: Array) -> float:
        """Return the sum of losses at parameters (K, D)."""
        total = 0.0
        for block in self._made() if self._blocks is None else self._blocks:
            z = block.x @ at.T
            top = z.max(axis=1)
            losses = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(len(z)), block.labels]
            total += float(losses.sum())
        return total

    def _new(self) -> Iterator[tuple[Rows, Array]]:
        for block in self._made() if self._blocks is None else self._blocks:
            z = block.x @ self._at.T
            p = np.exp(z - z.max(axis=1, keepdims=True))
            yield block, p / p.sum(axis=1, keepdims=True)


def _has_optimum(passes: _Passes, start: Array, rows: int) -> bool:
    """Whether Newton steps from parameters (K, D), or from zeros, reach a step that changes no margin by much."""
    zeros = np.zeros_like(start)
    return _arrives(passes, start, rows, _FROM_END) or _arrives(passes, zeros, rows, _FROM_ZEROS)


def _arrives(passes: _Passes, at: Array, rows: int, steps: int) -> bool:
    value = passes.value(at)
    for _ in range(steps):
        passes.move(at)
        step, solved = _newton_step(passes, rows * passes.classes * at.shape[1] ** 2 <= _MOST_PRODUCTS)
        if not (solved and np.isfinite(step).all()):
            return False
        if min(float(_change(*point, step).min(initial=0.0)) for point in passes) > -SMALL:
            return True
        length = 1.0
        for _ in range(_HALVINGS):
            found = passes.value(at + length * step)
            if found < value:
                break
            length *= 0.5
        at, value = at + length * step, found
    return False


def _newton_step(passes: _Passes, whole: bool) -> tuple[Array, bool]:
    """Return Newton's step (K, D) by conjugate gradients, and whether they converged."""
    residual: Any = sum((np.eye(p.shape[1])[block.labels] - p).T @ block.x for block, p in passes)
    solve = _by_classes(passes) if whole else _by_diagonal(passes)
    direction = solve(residual)
    step, size = np.zeros_like(direction), float(np.sum(residual * direction))
    end = _RESIDUAL**2 * size
    for _ in range(_ITERATIONS):
        if size <= end:
            break
        product = sum((p * _change(block, p, direction)).T @ block.x for block, p in passes)
        curvature = float(np.sum(direction * product))
        if not curvature > 0.0:
            return step, False
        step, residual = step + size / curvature * direction, residual - size / curvature * product
        scaled = solve(residual)
        before, size = size, float(np.sum(residual * scaled))
        direction = scaled + size / before * direction
    return step, size <= end


def _by_diagonal(passes: _Passes) -> Callable[[Array], Array]:
    """Return a preconditioner: the inverse diagonal of the curvature."""
    diagonal: Any = sum((p * (1.0 - p)).T @ (block.x * block.x) for block, p in passes)
    diagonal = np.maximum(diagonal, _FLAT * np.max(diagonal))
    return lambda residual: residual / diagonal


def _by_classes(passes: _Passes) -> Callable[[Array], Array]:
    """Return a preconditioner: the inverse curvature of each class, exact for two classes."""
    factors = []
    for k in range(passes.classes):
        matrix: Any = 0.0
        for block, p in passes:
            weighted = block.x * np.sqrt(p[:, k] * (1.0 - p[:, k]))[:, None]
            matrix = matrix + weighted.T @ weighted
        matrix[np.diag_indices_from(matrix)] += max(_FLAT * matrix.diagonal().max(), np.finfo(float).tiny)
        factor, failed = linalg.lapack.dpotrf(matrix, lower=1)
        if failed:
            return _by_diagonal(passes)
        factors.append(factor)
        if passes.classes == 2:
            factors *= 2
            break
    return lambda residual: np.array([linalg.cho_solve((f, True), r) for f, r in zip(factors, residual, strict=True)])


def _change(block: Rows, p: Array, direction: Array) -> Array:
    """Return the change of margins (m, K) minus its mean over classes, weighted by their probabilities."""
    change: Array = block.x @ direction.T
    return change - np.sum(p * change, axis=1, keepdims=True)
