"""Which columns are combinations of others: what makes an optimum without penalty not unique."""

import numpy as np
from scipy import linalg

from fastgd.objective import Objective
from fastgd.sample import sample_data
from fastgd.scaling import Array

#: Beyond this many columns the factorisation costs more time and memory (40 MB here) than it tells.
_MOST_COLUMNS = 1000
_BLOCK_BYTES = 1 << 22


def collinear_columns(objective: Objective) -> dict[int, tuple[int, ...]]:
    """Columns without which the others span the same space, each with those that it is a combination of.

    Constant columns, which are one of none, are among them. Pivoted QR of a sample of standardised rows, confirmed on
    all rows; above 1000 columns constant ones only.
    """
    d = objective.data.d
    inv_scale = objective.standard.inv_scale
    constant: dict[int, tuple[int, ...]] = {int(j): () for j in np.flatnonzero(inv_scale == 0.0)}
    if d > _MOST_COLUMNS:
        return constant
    found = sample_data(objective.data, share=1)
    rows = found.piece(0, found.n)[0]
    sample = _standardised(objective, rows)
    # A column that does not vary in the sample alone is not dependent, only rare.
    live = np.flatnonzero(np.linalg.norm(sample, axis=0) > 1e-3 * np.sqrt(len(sample)))
    if live.size == 0:
        return constant
    tolerance = max(sample.shape) * float(np.finfo(rows.dtype).eps)
    if not _is_suspect(sample[:, live], tolerance):
        return constant
    upper, order = linalg.qr(sample[:, live], mode="r", pivoting=True, check_finite=False)
    upper = upper[: live.size]
    diagonal = np.abs(np.diag(upper))
    rank = int(np.sum(diagonal > tolerance * diagonal[0]))
    if rank == live.size:
        return constant
    # Each dependent column minus its combination of the independent ones: 0 on all rows if it holds.
    null = np.zeros((d, live.size - rank))
    null[live[order[rank : upper.shape[1]]], np.arange(live.size - rank)] = 1.0
    if rank:
        null[live[order[:rank]]] = -linalg.solve_triangular(upper[:rank, :rank], upper[:rank, rank:])
    held = _residual(objective, null) <= 100.0 * tolerance
    parts = np.abs(null) > np.sqrt(tolerance) * np.abs(null).max(axis=0)
    for k in np.flatnonzero(held):
        column = int(live[order[rank + k]])
        constant[column] = tuple(int(j) for j in np.flatnonzero(parts[:, k]) if j != column)
    return dict(sorted(constant.items()))


def _is_suspect(sample: Array, tolerance: float) -> bool:
    """Whether the smallest eigenvalue of the Gram matrix lies near rounding; spares well-conditioned data the QR."""
    gram = sample.T @ sample
    if not np.all(np.isfinite(gram)):
        # The solver's own pass will say so.
        return False
    values = linalg.eigvalsh(gram, check_finite=False)
    floor = max(tolerance**2, 10.0 * gram.shape[0] * float(np.finfo(np.float64).eps))
    return bool(values[0] <= floor * values[-1])


def _standardised(objective: Objective, rows: Array) -> Array:
    standard = objective.standard
    result: Array = rows.astype(np.float64)
    result -= standard.center
    result *= standard.inv_scale
    return result


def _residual(objective: Objective, null: Array) -> Array:
    """Root mean square over all rows of standardised columns times each null vector, relative to its norm."""
    data = objective.data
    squares = np.zeros(null.shape[1])
    step = max(1, _BLOCK_BYTES // (data.d * 8))
    for start in range(0, data.n, step):
        squares += np.sum(
            (_standardised(objective, data.piece(start, min(start + step, data.n))[0]) @ null) ** 2, axis=0
        )
    data.count(data.n)
    norms: Array = np.sqrt(squares / data.n) / np.linalg.norm(null, axis=0)
    return norms
