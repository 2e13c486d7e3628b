"""Find linearly dependent columns, with which an optimum without penalty is not unique."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from fastgd.arrays import Array
from fastgd.objective.dataset import Rows
from fastgd.objective.objective import Objective
from fastgd.objective.sampling import cut_rows, sample_of
from fastgd.solvers.metric import require_finite

#: Most columns to examine: a Gram matrix of more takes longer than many fits (0.3 s).
MOST_COLUMNS = 2000
#: Most multiplications (rows columns^2) for an orthogonal factor of a sample, about two seconds and only for suspect
#: columns, and of all rows if weights allow no sample.
_SAMPLE_PRODUCTS, _ALL_PRODUCTS = 2e10, 1e11
#: Least bytes of a sample.
_SAMPLE_BYTES = 1 << 22
#: Rows per column of a sample, and of the part of it that proves most columns independent.
_SAMPLE_ROWS, _FEW_ROWS = 10, 2
#: Most multiplications (rows^2 columns) for the span of fewer rows than columns: by an orthogonal factor (a second) and
#: by the Gram matrix of the rows, which is quicker and less exact (three seconds).
_SPAN_PRODUCTS, _GRAM_PRODUCTS = 1e10, 1e11
#: Deviations of a column's mean from 0 up to which rows are centred after products with them.
_FAR = 100.0
#: Projections on a span, each of the residual of the one before.
_REFINEMENTS = 3
#: Most numbers of a sample of sparse rows with their zeros.
_DENSE_NUMBERS = 1 << 24
_BLOCK_BYTES = 1 << 22


class Collinearity(NamedTuple):
    """Linearly dependent columns.

    columns: redundant columns, each with the columns that it is a combination of; none for a constant column. wide:
    whether there are too few rows of positive weight for independent columns. least_norm: maps raw coefficients (K, d)
    to those of least norm with the same margins up to a constant; None if columns are independent or the map costs too
    much. complete: whether the search went beyond constant columns.
    """

    columns: dict[int, tuple[int, ...]]
    wide: bool
    least_norm: Callable[[Array], Array] | None
    complete: bool


def find_collinear(objective: Objective) -> Collinearity:
    """Find dependent columns by a pivoted QR of a sample of standardised rows, confirmed on all rows.

    Above 2000 columns, and if weights allow no sample that is small enough, only constant columns are found, and the
    span of fewer rows than columns. Rows of weight 0 do not count.
    """
    data = objective.data
    inv_scale = objective.standard.inv_scale
    columns: dict[int, tuple[int, ...]] = {int(j): () for j in np.flatnonzero(inv_scale == 0.0)}
    rows, wide, least_norm = _count_rows(data), is_wide(objective), None
    if wide and objective.can_be_dense and float(rows) ** 2 * data.d <= _GRAM_PRODUCTS:
        least_norm = _in_span_of(_differences(objective))
    sample = _sample(objective)
    if sample is not None:
        found, null = _combinations(objective, sample)
        columns |= found
        if null is not None and not wide:
            least_norm = _without(null * inv_scale[:, None])
    return Collinearity(dict(sorted(columns.items())), wide, least_norm, sample is not None)


def is_searched(data: Rows) -> bool:
    """Whether dependent columns are searched for among so many."""
    return data.d <= MOST_COLUMNS


def is_wide(objective: Objective) -> bool:
    """Whether there are too few rows of positive weight for the columns that vary to be independent."""
    varying = int(np.count_nonzero(objective.standard.inv_scale))
    return _count_rows(objective.data) - int(objective.problem.fit_intercept) < varying


def _count_rows(data: Rows) -> int:
    """Return the number of rows of positive weight."""
    return data.n if data.weights is None else int(np.count_nonzero(data.weights))


def name_parts(null: Array, dependent: Sequence[int], share: float) -> dict[int, tuple[int, ...]]:
    """Return the columns that each dependent column is a combination of, from its null vector (d, m).

    share: of the largest entry of a null vector, up to which an entry is rounding.
    """
    parts = np.abs(null) > share * np.abs(null).max(axis=0)
    return {
        int(column): tuple(int(j) for j in np.flatnonzero(parts[:, k]) if j != column)
        for k, column in enumerate(dependent)
    }


def remove_directions(coef: Array, directions: Array) -> Array:
    """Subtract from the rows of coef (K, d) their orthogonal projections on the span of directions (d, m)."""
    basis = np.linalg.qr(directions / np.linalg.norm(directions, axis=0))[0]
    removed: Array = coef - (coef @ basis) @ basis.T
    return removed


def _without(null: Array) -> Callable[[Array], Array]:
    return lambda coef: remove_directions(coef, null)


def _in_span_of(rows: Array) -> Callable[[Array], Array]:
    """Return the projection of coefficients on the span of rows (m, d), with m at most d."""
    if float(len(rows)) ** 2 * rows.shape[1] > _SPAN_PRODUCTS:
        return _in_span_by_gram(rows)
    basis, upper = np.linalg.qr(rows.T)
    require_finite(upper)
    left, values, _ = linalg.svd(upper, check_finite=False)
    kept = values > max(rows.shape) * np.finfo(np.float64).eps * values[0]
    span = basis @ left[:, kept]
    return lambda coef: (coef @ span) @ span.T


def _in_span_by_gram(rows: Array) -> Callable[[Array], Array]:
    """Return the projection from the Gram matrix of the rows, with refinement for the digits that it loses."""
    norms = np.linalg.norm(rows, axis=1)
    require_finite(norms)
    rows = rows[norms > 0.0] / norms[norms > 0.0, None]
    factor, order, rank, _ = linalg.lapack.dpstrf(rows @ rows.T, lower=1)
    factor, span = factor[:rank, :rank], rows[order[:rank] - 1]

    def project(coef: Array) -> Array:
        found = np.zeros_like(coef)
        for _ in range(_REFINEMENTS):
            found += linalg.cho_solve((factor, True), span @ (coef - found).T).T @ span
        return found

    return project


def _differences(objective: Objective) -> Array:
    """Return the rows of positive weight (m, d), with an intercept centred over these."""
    data = objective.data
    rows: Array = _weighing(data, 0, data.n).astype(np.float64)
    data.count_rows(data.n)
    if objective.problem.fit_intercept:
        rows = rows - rows.mean(axis=0)
        rows[:, objective.standard.inv_scale == 0.0] = 0.0
    return rows


def _sample(objective: Objective) -> Rows | None:
    """Return the rows to search for dependent columns; None if these or the columns are too many."""
    data = objective.data
    if not is_searched(data):
        return None
    size = min(_SAMPLE_ROWS * data.d, int(_SAMPLE_PRODUCTS / data.d**2))
    if data.is_sparse:
        size = min(size, _DENSE_NUMBERS // data.d)
    else:
        size = max(size, _SAMPLE_BYTES // (data.nbytes // data.n))
    sample = sample_of(data, size, share=1)
    few = not data.is_sparse or sample.n * data.d <= _DENSE_NUMBERS
    return sample if few and float(sample.n) * data.d**2 <= _ALL_PRODUCTS else None


def _combinations(objective: Objective, found: Rows) -> tuple[dict[int, tuple[int, ...]], Array | None]:
    """Return dependent columns that vary, and their null vectors (d, m) of standardised columns, if any."""
    sample, dtype = _standardised(objective, found, 0, found.n)
    if found is not objective.data:
        found.count_rows(found.n)
    # A column that is constant in the sample alone is rare, not dependent.
    live = np.flatnonzero(np.linalg.norm(sample, axis=0) > 1e-3 * np.sqrt(len(sample)))
    tolerance = max(sample.shape) * float(np.finfo(dtype).eps)
    if live.size == 0 or not _is_suspect(sample[:, live], tolerance):
        return {}, None
    # A factor without pivots first, which is several times quicker for many rows.
    upper = np.linalg.qr(sample[:, live], mode="r")
    upper, order = linalg.qr(upper, mode="r", pivoting=True, check_finite=False)
    diagonal = np.abs(np.diag(upper))
    rank = int(np.sum(diagonal > tolerance * diagonal[0]))
    if rank == live.size:
        return {}, None
    # Each dependent column minus its combination of independent ones: 0 on all rows if it is dependent there.
    null = np.zeros((objective.data.d, live.size - rank))
    null[live[order[rank : upper.shape[1]]], np.arange(live.size - rank)] = 1.0
    if rank:
        null[live[order[:rank]]] = -linalg.solve_triangular(upper[:rank, :rank], upper[:rank, rank:])
    held = np.flatnonzero(_residual(objective, null) <= 100.0 * tolerance)
    columns = name_parts(null[:, held], live[order[rank + held]], float(np.sqrt(tolerance)))
    return columns, null[:, held] if held.size else None


def _is_suspect(sample: Array, tolerance: float) -> bool:
    """Whether the Gram matrix is near singular; well-conditioned data then need no QR.

    Columns that are independent on some rows are independent on all.
    """
    few = sample[:: max(1, len(sample) // (_FEW_ROWS * sample.shape[1]))]
    return _is_near_singular(few, tolerance) and (len(few) == len(sample) or _is_near_singular(sample, tolerance))


def _is_near_singular(sample: Array, tolerance: float) -> bool:
    """Whether the reciprocal condition number of the Gram matrix (in the 1-norm) is near rounding."""
    gram = sample.T @ sample
    if not np.all(np.isfinite(gram)):
        # The solver's own pass reports it.
        return False
    factor, failed = linalg.lapack.dpotrf(gram, lower=1)
    if failed:
        return True
    floor = max(tolerance**2, 10.0 * gram.shape[0] * float(np.finfo(np.float64).eps))
    reciprocal_condition, _ = linalg.lapack.dpocon(factor, np.abs(gram).sum(axis=0).max(), uplo="L")
    return bool(reciprocal_condition <= floor)


def _standardised(objective: Objective, data: Rows, start: int, stop: int) -> tuple[Array, Any]:
    """Return rows [start, stop) of positive weight in standardised columns, and their original dtype."""
    standard = objective.standard
    X = _weighing(data, start, stop)
    rows: Array = X.astype(np.float64)
    rows -= standard.center
    rows *= standard.inv_scale
    return rows, X.dtype


def _weighing(data: Rows, start: int, stop: int, dense: bool = True) -> Any:
    """Return those of rows [start, stop) that have a positive weight; sparse ones as such if not `dense`."""
    X, _, s = data.sparse_rows_on_host(start, stop) if data.is_sparse and not dense else data.rows_on_host(start, stop)
    return X if s is None else X[s > 0.0]


def _residual(objective: Objective, null: Array) -> Array:
    """Return the root mean square over all rows of standardised columns times null vectors, relative to their norms."""
    data, standard = objective.data, objective.standard
    squares, rows = np.zeros(null.shape[1]), 0
    step = max(1, _BLOCK_BYTES // (data.d * 8))
    coef = null * standard.inv_scale[:, None]
    # Centring after the product leaves rounding of the means, in deviations, and saves a copy of the rows.
    far = bool(np.any(np.abs(standard.center * standard.inv_scale) > _FAR))
    if data.is_sparse and not far:
        # Products need no zeros.
        step = max(1, _BLOCK_BYTES // (data.nbytes // data.n))
    for start, stop in cut_rows(data, step):
        block = _weighing(data, start, stop, dense=far).astype(np.float64, copy=False)
        products = (block - standard.center) @ coef if far else block @ coef - standard.center @ coef
        squares += np.einsum("ij,ij->j", products, products)
        rows += block.shape[0]
    data.count_rows(data.n)
    norms: Array = np.sqrt(squares / rows) / np.linalg.norm(null, axis=0)
    return norms
