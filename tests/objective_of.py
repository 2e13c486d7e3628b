"""The objective that a fit would minimise, built from a problem of the reference, without the fit."""

from fastgd._config import FitConfig
from fastgd._data import load
from fastgd._inputs import Matrix
from fastgd.objective.objective import Objective
from fastgd.objective.problem import WorkingCoordinates
from fastgd.reference import Problem, Scaling, fit_scaling, working_problem
from tests.estimators.fits import DTYPES, features, model_for, targets


def objective_of(problem: Problem, *, dtype: str = "f8", order: str = "C", standardize: bool = True) -> Objective:
    """The library's objective on a problem's data."""
    model = model_for(problem, standardize=standardize, n_threads=1)
    X, s = features(problem, dtype, order), problem.weight.astype(DTYPES[dtype])
    data = load(FitConfig.of(model), Matrix(X), targets(problem), s)
    moments = data.rows.moments()
    frame = WorkingCoordinates.of(moments, data.problem, standardize, data.rows.dtype)
    return Objective(data.rows, data.problem, moments, frame)


def working(problem: Problem, standardize: bool = True) -> tuple[Problem, Scaling]:
    """The reference's problem in the coordinates of `objective_of`."""
    scaling = fit_scaling(problem, standardize)
    return working_problem(problem, scaling), scaling
