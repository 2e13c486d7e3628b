"""Which solver ``optimizer="auto"`` is, and the solvers by their optimizers."""

from collections.abc import Callable

from fastgd.objective import Objective
from fastgd.optimizers import LBFGS, Accelerated, FullBatch, NormalEquations, SketchedNewton
from fastgd.scaling import Array
from fastgd.solvers.accelerated import solve_accelerated
from fastgd.solvers.costs import Shape
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


#: Columns from which matrices of d columns take more memory than is ours to take.
_MOST_COLUMNS = 4000


def choose(objective: Objective) -> tuple[FullBatch, str]:
    """The solver that is expected to be the quickest, and why."""
    shape = Shape.of(objective)
    seconds = expected(shape)
    ranked = sorted(seconds, key=lambda name: seconds[name])
    others = ", ".join(f"{name} {seconds[name]:.2g} s" for name in ranked[1:])
    reason = f"optimizer='auto': the quickest for this shape, about {seconds[ranked[0]]:.2g} s ({others})"
    return _BY_NAME[ranked[0]](), reason


def expected(shape: Shape) -> dict[str, float]:
    """Seconds that each solver is expected to take, of those that can solve the problem."""
    seconds = {"Accelerated": shape.accelerated}
    if not shape.l1:
        seconds["LBFGS"] = shape.lbfgs
    if shape.columns <= _MOST_COLUMNS:
        seconds["SketchedNewton"] = min(shape.sketched(shape.sample_rows), shape.plain)
        if shape.loss == "squared":
            seconds["NormalEquations"] = shape.normal_equations
    return seconds


_BY_NAME: dict[str, type[FullBatch]] = {kind.__name__: kind for kind in SOLVERS}
