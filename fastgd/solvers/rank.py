"""Which columns are combinations of others: what makes an optimum without penalty not unique."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import linalg

from fastgd.objective import Objective
from fastgd.sample import sample_data
from fastgd.scaling import Array
from fastgd.solvers.factorization import require_finite

if TYPE_CHECKING:
    from fastgd.backends.verbs import Rows

#: Beyond this many columns and rows the factorisation costs more time and memory (40 MB here) than it is worth.
MOST_COLUMNS = 1000
#: Multiplications at most for the span of fewer rows than columns: about a second.
_MOST_PRODUCTS = 1e10
_BLOCK_BYTES = 1 << 22


class Collinearity(NamedTuple):
    """Dependent columns.

    columns: those without which the others span the same space, each with those that it is a combination of; constant
    columns are combinations of none. wide: whether rows of positive weight are too few for independent columns.
    least_norm: raw coefficients (K, d) of least norm with the margins of others, which change by a constant at most;
    None where columns are independent or that was too much to find.
    """

    columns: dict[int, tuple[int, ...]]
    wide: bool
    least_norm: Callable[[Array], Array] | None


def find_collinear(objective: Objective) -> Collinearity:
    """Look for dependent columns: pivoted QR of a sample of standardised rows, confirmed on all rows.

    Above 1000 columns it finds constant ones only, and the span of fewer rows than columns. Rows of weight 0 do not
    count.
    """
    data = objective.data
    inv_scale = objective.standard.inv_scale
    columns: dict[int, tuple[int, ...]] = {int(j): () for j in np.flatnonzero(inv_scale == 0.0)}
    rows = data.n if data.weights is None else int(np.count_nonzero(data.weights))
    wide = rows - int(objective.problem.fit_intercept) < data.d - len(columns)
    least_norm = None
    if wide and float(rows) ** 2 * data.d <= _MOST_PRODUCTS:
        least_norm = _in_span_of(_differences(objective))
    if data.d <= MOST_COLUMNS:
        found, null = _combinations(objective)
        columns |= found
        if null is not None and not wide:
            least_norm = _without(null * inv_scale[:, None])
    return Collinearity(dict(sorted(columns.items())), wide, least_norm)


def remove_directions(coef: Array, directions: Array) -> Array:
    """Rows of coef (K, d) less their orthogonal projections on the span of directions (d, m)."""
    basis = np.linalg.qr(directions / np.linalg.norm(directions, axis=0))[0]
    removed: Array = coef - (coef @ basis) @ basis.T
    return removed


def _without(null: Array) -> Callable[[Array], Array]:
    return lambda coef: remove_directions(coef, null)


def _in_span_of(rows: Array) -> Callable[[Array], Array]:
    """The projection of coefficients on the span of rows (m, d), with m at most d."""
    basis, upper = np.linalg.qr(rows.T)
    require_finite(upper)
    left, values, _ = linalg.svd(upper, check_finite=False)
    kept = values > max(rows.shape) * np.finfo(np.float64).eps * values[0]
    span = basis @ left[:, kept]
    return lambda coef: (coef @ span) @ span.T


def _differences(objective: Objective) -> Array:
    """Rows of positive weight (m, d): raw columns less their mean over these, without an intercept as they are."""
    data = objective.data
    rows: Array = _weighing(data, 0, data.n).astype(np.float64)
    data.count(data.n)
    if objective.problem.fit_intercept:
        rows = rows - rows.mean(axis=0)
        rows[:, objective.standard.inv_scale == 0.0] = 0.0
    return rows


def _combinations(objective: Objective) -> tuple[dict[int, tuple[int, ...]], Array | None]:
    """Dependent columns that vary, and the null vectors (d, m) of standardised columns that say so, if any."""
    found = sample_data(objective.data, share=1)
    sample, dtype = _standardised(objective, found, 0, found.n)
    # A column that does not vary in the sample alone is not dependent, only rare.
    live = np.flatnonzero(np.linalg.norm(sample, axis=0) > 1e-3 * np.sqrt(len(sample)))
    tolerance = max(sample.shape) * float(np.finfo(dtype).eps)
    if live.size == 0 or not _is_suspect(sample[:, live], tolerance):
        return {}, None
    upper, order = linalg.qr(sample[:, live], mode="r", pivoting=True, check_finite=False)
    upper = upper[: live.size]
    diagonal = np.abs(np.diag(upper))
    rank = int(np.sum(diagonal > tolerance * diagonal[0]))
    if rank == live.size:
        return {}, None
    # Each dependent column minus its combination of the independent ones: 0 on all rows if it holds.
    null = np.zeros((objective.data.d, live.size - rank))
    null[live[order[rank : upper.shape[1]]], np.arange(live.size - rank)] = 1.0
    if rank:
        null[live[order[:rank]]] = -linalg.solve_triangular(upper[:rank, :rank], upper[:rank, rank:])
    held = np.flatnonzero(_residual(objective, null) <= 100.0 * tolerance)
    parts = np.abs(null) > np.sqrt(tolerance) * np.abs(null).max(axis=0)
    columns = {}
    for k in held:
        column = int(live[order[rank + k]])
        columns[column] = tuple(int(j) for j in np.flatnonzero(parts[:, k]) if j != column)
    return columns, null[:, held] if held.size else None


def _is_suspect(sample: Array, tolerance: float) -> bool:
    """Whether the smallest eigenvalue of the Gram matrix lies near rounding; spares well-conditioned data the QR."""
    gram = sample.T @ sample
    if not np.all(np.isfinite(gram)):
        # The solver's own pass will say so.
        return False
    values = linalg.eigvalsh(gram, check_finite=False)
    floor = max(tolerance**2, 10.0 * gram.shape[0] * float(np.finfo(np.float64).eps))
    return bool(values[0] <= floor * values[-1])


def _standardised(objective: Objective, data: "Rows", start: int, stop: int) -> tuple[Array, Any]:
    """Rows [start, stop) of positive weight in standardised columns, and the dtype that they had."""
    standard = objective.standard
    X = _weighing(data, start, stop)
    rows: Array = X.astype(np.float64)
    rows -= standard.center
    rows *= standard.inv_scale
    return rows, X.dtype


def _weighing(data: "Rows", start: int, stop: int) -> Any:
    """Those of rows [start, stop) that have a positive weight."""
    X, _, s = data.piece(start, stop)
    return X if s is None else X[s > 0.0]


def _residual(objective: Objective, null: Array) -> Array:
    """Root mean square over all rows of standardised columns times each null vector, relative to its norm."""
    data = objective.data
    squares, rows = np.zeros(null.shape[1]), 0
    step = max(1, _BLOCK_BYTES // (data.d * 8))
    for start in range(0, data.n, step):
        block = _standardised(objective, data, start, min(start + step, data.n))[0]
        squares += np.sum((block @ null) ** 2, axis=0)
        rows += len(block)
    data.count(data.n)
    norms: Array = np.sqrt(squares / rows) / np.linalg.norm(null, axis=0)
    return norms
