"""Which solver ``optimizer="auto"`` is, and the solvers by their optimizers."""

from collections.abc import Callable

from fastgd.objective import Objective
from fastgd.optimizers import LBFGS, Accelerated, FullBatch, NormalEquations, Optimizer, SketchedNewton
from fastgd.scaling import Array
from fastgd.solvers.accelerated import solve_accelerated
from fastgd.solvers.costs import Shape
from fastgd.solvers.hardness import hardness
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


#: Solvers whose passes depend on the problem's hardness, and the least hardness that is expected.
_WITHOUT_METRIC, _EASIEST = {"Accelerated", "LBFGS"}, 0.5
#: Columns from which matrices of d columns take more memory than is ours to take.
_MOST_COLUMNS = 4000


def choose(objective: Objective) -> tuple[FullBatch, str, dict[str, float]]:
    """Return the solver that is expected to be the quickest, why, and the seconds that each solver is expected to take.

    Solvers without a metric are only bounded from below where they cannot be the quickest.
    """
    if objective.problem.positive:
        return NormalEquations(), "optimizer='auto': coefficients of at least 0 are solved for directly", {}
    shape = Shape.of(objective)
    seconds = _able(expected(shape), objective)
    open_question = _quickest(seconds)[0] in _WITHOUT_METRIC
    if open_question:
        seconds = _able(expected(shape, hardness(objective)), objective)
    first, *others = _quickest(seconds)
    reason = "optimizer='auto': expected to be the quickest for this shape"
    reason += f", before {', '.join(others)}" if others else ""
    return _BY_NAME[first](), reason, {name: float(seconds[name]) for name in (first, *others)}


def alternative(objective: Objective, kind: type[Optimizer] | None) -> str:
    """What to try where a solver got no further: "auto", or the next best where that is the same.

    kind: the solver, None for the automatic one. Names are those that estimators accept.
    """
    first, *others = _quickest(_able(expected(Shape.of(objective), hardness(objective)), objective))
    if kind is not None and kind.__name__ != first:
        return "auto"
    return _BY_NAME[others[0] if others else "SketchedNewton"].rule


def expected(shape: Shape, hard: float = _EASIEST) -> dict[str, float]:
    """Seconds that each solver is expected to take, of those that can solve the problem.

    hard: as `hardness` tells; of solvers without a metric, unless told, the least.
    """
    seconds = {"Accelerated": shape.accelerated(hard)}
    if not shape.l1:
        seconds["LBFGS"] = shape.lbfgs(hard)
    if shape.columns <= _MOST_COLUMNS:
        seconds["SketchedNewton"] = shape.in_its_metric.newton
        if shape.loss == "squared":
            seconds["NormalEquations"] = shape.normal_equations
    return seconds


def _able(seconds: dict[str, float], objective: Objective) -> dict[str, float]:
    """Those of the solvers that can give each output its own L2 weight, where that is asked for."""
    if objective.has_penalties_of_their_own:
        seconds.pop("NormalEquations", None)
    return seconds


def _quickest(seconds: dict[str, float]) -> list[str]:
    return sorted(seconds, key=lambda name: seconds[name])


_BY_NAME: dict[str, type[FullBatch]] = {kind.__name__: kind for kind in SOLVERS}
