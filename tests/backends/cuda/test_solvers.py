"""Fits on data on the GPU end where the CPU's do."""

import numpy as np
import pytest

from fastgd.history import History
from fastgd.objective.objective import Objective
from fastgd.objective.problem import WorkingCoordinates
from fastgd.optimizers import (
    LBFGS,
    Accelerated,
    NormalEquations,
    SketchedNewton,
)
from fastgd.solvers.progress import Monitor, Plateau
from fastgd.solvers.select import solve
from tests.backends.cuda.rows import close, placed
from tests.estimators.fits import problem_for
from tests.kernels.table import Case, Sample
from tests.objective_of import objective_of

N, D = 30, 3


def twins(loss, outputs, where, monkeypatch):
    """Return the objective on the CPU and on the GPU."""
    here = objective_of(problem_for(loss, outputs, n=N, d=D, alpha=0.1))
    data = here.data
    data.rows_read = 0
    its = Sample(data.rows, data.data.y, data.weights, *np.zeros((3, 1)), 0.0)
    there = Objective(
        placed(its, where, monkeypatch), here.problem, here.moments, WorkingCoordinates(here.scaling, here.shift)
    )
    return here, there


def monitor_for(objective):
    return Monitor(History(30), Plateau(0.0, 10), objective.to_user)


@pytest.mark.parametrize("where", ["held", "streamed"])
@pytest.mark.parametrize(
    ("optimizer", "loss", "outputs"),
    [
        (SketchedNewton(), "logistic", 1),
        (SketchedNewton(), "softmax", 3),
        (NormalEquations(), "squared", 2),
        (LBFGS(), "logistic", 1),
        (Accelerated(), "huber", 1),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "get_params") else str(value),
)
def test_solvers_find_the_same_optimum(optimizer, loss, outputs, where, monkeypatch):
    here, there = twins(loss, outputs, where, monkeypatch)
    found, expected = (solve(optimizer, one, one.start(), 1e-6, monitor_for(one)) for one in (there, here))
    assert (found.reason, found.converged) == (expected.reason, expected.converged)
    close(found.theta, expected.theta, Case(loss, "f8", "C"))
    assert there.data.rows_read == here.data.rows_read
    assert there.bytes_read == here.bytes_read


def test_a_sample_gives_the_metric_and_all_rows_the_gradients(monkeypatch):
    monkeypatch.setattr("fastgd.objective.sampling._LEAST_ROWS", 0)
    monkeypatch.setattr("fastgd.objective.sampling._RUN_ROWS", (4, 4))
    here, there = twins("logistic", 1, "held", monkeypatch)
    theta = np.random.default_rng(0).standard_normal(here.start().shape)
    for one in (here, there):
        sampled = one.sampled(7)
        assert sampled.data.n == 8
    found, expected = (one.sampled(7).second_order(theta)[1] for one in (there, here))
    close(found, expected, Case("logistic", "f8", "C"))
    assert there.bytes_read == here.bytes_read
