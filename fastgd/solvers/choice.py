"""Which solver ``optimizer="auto"`` is, and the solvers by their optimizers."""

from collections.abc import Callable

from fastgd.objective import Objective
from fastgd.optimizers import LBFGS, Accelerated, FullBatch, NormalEquations, SketchedNewton
from fastgd.scaling import Array
from fastgd.solvers.accelerated import solve_accelerated
from fastgd.solvers.lbfgs import solve_lbfgs
from fastgd.solvers.normal_equations import solve_normal_equations
from fastgd.solvers.sketched import solve_sketched
from fastgd.stopping import Monitor, Solution

#: The solvers that find their own steps.
SOLVERS: dict[type[FullBatch], Callable[..., Solution]] = {
    Accelerated: solve_accelerated,
    SketchedNewton: solve_sketched,
    LBFGS: solve_lbfgs,
    NormalEquations: solve_normal_equations,
}


def solve(optimizer: FullBatch, objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Minimise from theta until the certificate is at most tol, or the monitor says so."""
    return SOLVERS[type(optimizer)](objective, theta, tol, monitor, **optimizer.get_params(deep=False))


def choose(objective: Objective) -> tuple[FullBatch, str]:
    """The solver that is expected to be the quickest, and why."""
    return SketchedNewton(), "optimizer='auto'"
