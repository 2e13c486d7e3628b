"""The objective that a fit would minimise, built from a problem of the reference, without the fit."""

import numpy as np

from fastgd._config import resolve
from fastgd._data import linear_problem, logistic_problem, site_of
from fastgd._inputs import Converted
from fastgd._labels import check_labels
from fastgd.losses import find_loss
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Frame
from fastgd.reference import Problem, Scaling, fit_scaling, working_problem
from tests.estimators.fits import DTYPES, features, model_for, targets


def objective_of(problem: Problem, *, dtype: str = "f8", order: str = "C", standardize: bool = True) -> Objective:
    """The library's objective on a problem's data."""
    model = model_for(problem, standardize=standardize, n_threads=1)
    options, X, s = resolve(model), features(problem, dtype, order), problem.weight.astype(DTYPES[dtype])
    site = site_of(options, Converted(X, 0))
    if problem.loss in ("logistic", "softmax"):
        data, found = logistic_problem(model, options, site, check_labels(targets(problem), X), s)
    else:
        y = np.ascontiguousarray(problem.y)
        data, found = linear_problem(model, options, site, y, s, find_loss(problem.loss, problem.delta))
    moments = data.moments()
    return Objective(data, found, moments, Frame.of(moments, found, standardize, data.dtype))


def working(problem: Problem, standardize: bool = True) -> tuple[Problem, Scaling]:
    """The reference's problem in the coordinates of `objective_of`."""
    scaling = fit_scaling(problem, standardize)
    return working_problem(problem, scaling), scaling
