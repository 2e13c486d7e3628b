"""How many passes a problem asks of solvers without a metric, at a glance: correlations of its columns, and L2."""

import math
import sys

import numpy as np

from fastgd.objective import Objective
from fastgd.sample import sample_of

#: Rows that are looked at.
_ROWS = 128
#: What L2 does: the hardness at an L2 weight as large as the curvature is the inverse of this at most.
_RIDGE = 1.2


def hardness(objective: Objective) -> float:
    """1 for uncorrelated columns and many rows, more for correlated ones, less where L2 is steep.

    The mean eigenvalue of the columns' correlations, weighted by itself: the trace of their square by that of their
    own, as the mean squared product of two rows tells; for eigenvalues from 1 down to 1 / c, evenly in their
    logarithm, log(c) / 2. Few rows a column add to it, and L2 bounds it, about as it bounds the condition number.
    """
    data, problem, standard = objective.data, objective.problem, objective.standard
    sample = sample_of(data, _ROWS)
    rows = sample.piece(0, min(sample.n, _ROWS))[0].astype(np.float64)
    rows = (rows - standard.center) * standard.inv_scale
    products = rows @ rows.T
    lengths = np.diag(products)
    pairs = len(rows) * (len(rows) - 1.0)
    live = max(1.0, float(np.count_nonzero(standard.inv_scale)))
    trace = float(np.mean(lengths))
    if not (math.isfinite(trace) and trace > 0.0 and pairs > 0.0):
        return 1.0
    spread = live * (float(np.sum(products**2)) - float(np.sum(lengths**2))) / (pairs * trace**2)
    # Weights that leave one class have no curvature at the constant model.
    curvature = max(float(np.mean(problem.constant.curvatures)), sys.float_info.min)
    ridge = float(problem.l2.min()) * float(np.median(standard.inv_scale**2)) / curvature
    return 1.0 / (1.0 / (max(spread, 1.0) + live / data.n) + _RIDGE * math.sqrt(ridge))
