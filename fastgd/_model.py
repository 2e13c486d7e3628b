"""The parameters and columns that estimators hold: types for code loaded without Numba and for `_config`."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from fastgd._categories import Coding
from fastgd.optimizers import Optimizer, OptimizerName


class ModelParameters(BaseEstimator):
    """Parameters of both estimators as the user gave them; constructors list the defaults, `_docs` documents them."""

    alpha: float | ArrayLike
    l1_ratio: float
    fit_intercept: bool
    standardize: bool
    optimizer: Literal["auto"] | OptimizerName | Optimizer
    batch_size: int | Literal["auto", "full"]
    shuffle: bool
    drop_last: bool
    max_iter: int | None
    max_seconds: float | None
    tol: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    random_state: int | np.random.RandomState | None
    verbose: bool | int
    categorical: Literal["auto"] | Sequence[str] | None
    device: Literal["auto", "cpu", "cuda"]
    n_threads: int | None

    n_features_in_: int
    feature_names_in_: NDArray[Any]
    #: The columns of categories in the fit; None if there were none.
    _coding: Coding | None = None
