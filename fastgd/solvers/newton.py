"""Newton's method: gradient and curvature of all rows, or of a sample, from one pass."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastgd.objective import Evaluation, Objective
from fastgd.scaling import Array
from fastgd.solvers.course import Course
from fastgd.solvers.descent import Descent
from fastgd.solvers.line_minimum import to_line_minimum
from fastgd.solvers.metric import Metric, make_metric
from fastgd.stopping import Monitor, Solution


class _Passes:
    """Evaluations, each with its curvature.

    Apart from Newton's method, whose descent has them: in a cycle a GPU's memory would wait for Python's collector.
    """

    def __init__(self, quadratic: Callable[[Array], tuple[Evaluation, Any]]) -> None:
        self._quadratic = quadratic

    def evaluate(self, theta: Array) -> Evaluation:
        """The evaluation at theta."""
        at, self.curvature = self._quadratic(theta)
        return at


class Newton:
    """Newton's method, from theta: a metric of its own for every iterate; of softmax by its `joint` curvature."""

    def __init__(self, objective: Objective, theta: Array, sampled: bool, joint: bool = False) -> None:
        self._objective, self._sampled = objective, sampled
        self._passes = _Passes(objective.joint_quadratic if joint else objective.quadratic)
        at = self._passes.evaluate(theta)
        self._curvature = self._passes.curvature
        self._descent = Descent(objective, self._passes.evaluate, at, self._metric(), remembers=False)
        #: Whether the metric is that of the iterate, and whether no step was taken yet.
        self._fresh = self._first = True

    def _metric(self) -> Metric:
        return make_metric(self._objective, self._curvature(), 0, self._sampled)

    @property
    def at(self) -> Evaluation:
        """The iterate."""
        return self._descent.at

    @property
    def promise(self) -> float:
        """As `Descent.promise`."""
        return self._descent.promise

    @property
    def rounded(self) -> bool:
        """As `Descent.rounded`."""
        return self._descent.rounded

    @property
    def idle(self) -> bool:
        """As `Descent.idle`."""
        return self._descent.idle

    def told(self, solution: Solution) -> Solution:
        """As `Descent.told`."""
        return self._descent.told(solution)

    def advance(self) -> Evaluation:
        """A step, in the metric of where the last one ended."""
        if not self._fresh:
            self._descent.use(self._metric())
        if self._objective.problem.loss == "huber":
            trial = self._descent.advance(partial(to_line_minimum, self._objective), enough=0.0)
        else:
            trial = self._descent.advance(self._objective.lengthened if self._first else None)
        self._first = False
        self._fresh = self._descent.failures > 0
        if not self._fresh:
            self._curvature = self._passes.curvature
        return trial

    def to_the_end(self, course: Course, tol: float, reason: str | None) -> Solution:
        """Steps until the course gives a reason to end, or rounding does."""
        while reason is None:
            reason = course.tried(self.advance())
            if reason is None and tol > 0.0 and self.idle and not course.improved:
                reason = "no step"
        return self.told(course.solution(reason))


def solve_newton(objective: Objective, theta: Array, tol: float, monitor: Monitor, joint: bool = False) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done.

    joint: whether the curvature of softmax is taken whole.
    """
    course = Course(objective, tol, monitor)
    newton = Newton(objective, theta, sampled=False, joint=joint)
    return newton.to_the_end(course, tol, course.seen(newton.at))
