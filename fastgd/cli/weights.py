"""The column of sample weights that ``--weight`` names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.data.table import Table


def read_weights(table: Table, name: str) -> NDArray[np.float64]:
    """Return a column as weights.

    Parameters
    ----------
    table : Table
    name : str
        The column.

    Returns
    -------
    ndarray of shape (n_rows,)
        NaN where the value is missing.

    Raises
    ------
    InputError
        The column holds text, infinite values or negative ones, or no positive one.
    """
    column = table.column(name)
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "fiub":
        raise InputError(f"--weight {name}: the column holds {table.unusable([name])[name]}: name a column of numbers")
    weights = np.asarray(column, dtype=np.float64)
    unusable = np.flatnonzero((weights < 0) | np.isinf(weights))
    if unusable.size:
        row = int(unusable[0])
        found = f"{weights[row]:g} in row {row + 1:,} of data"
        raise InputError(f"--weight {name}: {found}, but weights are finite and at least 0: correct or drop the row")
    if not np.nansum(weights) > 0:
        raise InputError(f"--weight {name}: no row has a positive weight")
    return weights
