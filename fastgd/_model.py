"""The parameters that estimators hold: their type, for code that is loaded without Numba and for `_config`."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

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
    device: Literal["auto", "cpu", "cuda"]
    n_threads: int | None
