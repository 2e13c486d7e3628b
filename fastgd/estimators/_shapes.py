"""Shapes of arguments: errors that name the argument, what it has and what it must have."""

from collections.abc import Sized
from typing import Any

import numpy as np

from fastgd.parameters import shown

#: Dimensions that arguments may have, and what messages call them.
MATRIX = ((2,), "a 2D array of shape (rows, columns)")
TARGETS = ((1, 2), "an array of shape (rows,) or (rows, targets)")
COLUMN = ((1,), "a 1d array of shape (rows,)")
WEIGHTS = ((1,), "1D, of shape (rows,)")


def refuse_shape(given: Any, name: str, form: tuple[tuple[int, ...], str]) -> None:
    """Raise a ValueError if an argument is no array, or has other dimensions than the form allows."""
    dimensions, words = form
    try:
        shape = np.shape(given)
    except ValueError:
        raise ValueError(f"{name} has rows of unequal lengths: it must be {words}") from None
    if not shape:
        raise ValueError(f"{name} must be {words}, got {shown(given)}")
    if len(shape) in dimensions:
        return
    cure = ""
    if len(shape) == 1:
        # scikit-learn's checks require the first three words.
        cure = f". Reshape your data: {name}.reshape(-1, 1) is one column, {name}.reshape(1, -1) one row"
    raise ValueError(f"{name} must be {words}, got {len(shape)} dimension{'s' * (len(shape) > 1)}, shape {shape}{cure}")


def check_rows(given: Sized, X: Sized, name: str) -> None:
    """Raise a ValueError if targets or labels have not a value for each row of X."""
    if len(given) != len(X):
        partner = "X_val" if name.endswith("_val") else "X"
        raise ValueError(
            f"{name} has {len(given):,} rows and {partner} {len(X):,}, inconsistent numbers of samples: give one value "
            f"for each row of {partner}"
        )
