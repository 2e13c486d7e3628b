"""What solvers are expected to cost, from the shape of the data: the choice of a solver and sizes of samples.

Seconds on the machine that `bench/costs.py` measured last; only their ratios count, which vary little.
"""

import math
from functools import lru_cache
from operator import mul
from typing import NamedTuple

import numpy as np

from fastgd.backends.design import LONG
from fastgd.losses import Loss
from fastgd.objective.objective import Objective
from fastgd.objective.sampling import most_rows

# Written by python -m bench.costs --write: seconds, passes and steps.
#: Of a full pass: once, a row's output, a byte of X, a multiplication of a number of X.
PASS = (3.0e-05, 9.8e-10, 1.3e-11, 3.5e-11)
#: Of a curvature: once, a row's output, a number of a row made anew, a multiplication of its product with itself.
CURVATURE = (3.1e-05, 2.2e-08, 1.2e-09, 1.5e-11)
#: Of a metric: once, a number of the matrix, a multiplication of its elimination.
METRIC = (1.0e-05, 1.9e-09, 1.2e-11)
#: Of the Gram matrix of all rows: once, a row, a number of it, a multiplication.
GRAM = (9.5e-06, 2.0e-09, 1.6e-11, 9.8e-12)
#: Of an iteration of L-BFGS beside its pass: once, a parameter.
LBFGS_STEP = (2.2e-05, 4.4e-08)
#: Of the same of the accelerated gradient.
ACCELERATED_STEP = (1.1e-05, 1.3e-08)
#: Of coordinate descent: a number of the matrix, in a step of SketchedNewton and in NormalEquations.
DESCENT = (4.7e-09, 1.4e-08)
#: Steps of Newton's method, passes of coupled outputs in the metric that they share: smooth, and at an elastic net.
NEWTON_STEPS, COUPLED_PASSES = 4, (12, 15)
#: Passes of solvers without a metric: at a hardness of 1, and the power of it that they grow with.
LBFGS_PASSES = (17, 1.1)
ACCELERATED_PASSES = (42, 1.2)
# End of what is written.

#: Newton's steps on a squared loss.
_SQUARED_STEPS = 2
#: Curvatures of the first sample, and passes over the sample, of which coupled outputs take more.
_FIRST_CURVATURES, _SAMPLE_PASSES, _COUPLED_SAMPLE_PASSES = 5, 4, 15
#: What a fit gains in all, as a factor of the objective's distance from its minimum.
_GAIN = 1e6
#: Sizes of samples that are considered, in rows a parameter.
_ROWS_A_PARAMETER = [8 * 2 ** (k / 2) for k in range(12)]
#: Rows a column of the first sample.
FIRST_ROWS = 20
#: Columns up to which Newton's method on a first sample costs little.
FIRST_COLUMNS = 200
#: Parameters of softmax up to which their joint curvature is no more memory than is ours to take.
MOST_JOINT = 1024


def cost(constants: tuple[float, ...], terms: tuple[float, ...]) -> float:
    """Seconds of so much of each."""
    return sum(map(mul, constants, terms))


#: Computes a property of a shape once: shapes are small tuples, of which a fit has a few.
_once = lru_cache(maxsize=256)


def informed_parameters(objective: Objective) -> int:
    """Parameters that share the rows' information: of coupled outputs all, else an output's."""
    return (objective.data.d + 1) * (objective.outputs if objective.problem.loss.couples_outputs else 1)


class Shape(NamedTuple):
    """What costs depend on; columns with the intercept's."""

    rows: int
    columns: int
    outputs: int
    itemsize: int
    loss: Loss
    l1: bool
    #: Rows that tell as much as one of balanced classes and equal weights.
    rarity: float = 1.0
    #: Whether the curvature of softmax is that of all outputs jointly.
    joint: bool = False

    @classmethod
    def of(cls, objective: Objective) -> "Shape":
        """An objective's."""
        data = objective.data
        loss, l1 = objective.problem.loss, bool(np.any(objective.problem.l1))
        rarity = loss.rarity(objective.problem.constant) * data.n / data.effective_rows
        return cls(data.n, data.d + 1, objective.outputs, 4 if data.dtype == "f4" else 8, loss, l1, rarity)

    @property
    @_once
    def parameters(self) -> int:
        """Parameters that share the rows' information: of coupled outputs all, else an output's."""
        return self.columns * (self.outputs if self.loss.couples_outputs else 1)

    @property
    @_once
    def width(self) -> int:
        """Rows of a curvature."""
        return self.columns * self.outputs if self.joint else self.columns

    @property
    @_once
    def quicker_curvature(self) -> "Shape":
        """The same, jointly where that is not expected to take longer."""
        whole = self.with_joint_curvature
        return self if whole is None or whole.seconds_newton > self.seconds_newton else whole

    @property
    @_once
    def with_joint_curvature(self) -> "Shape | None":
        """The same with the joint curvature of softmax; None of other losses, and where that is too much memory."""
        whole = self._replace(joint=True)
        return whole if self.loss.couples_outputs and whole.width <= MOST_JOINT else None

    @property
    @_once
    def seconds_newton(self) -> float:
        """Seconds of a fit by SketchedNewton with this curvature."""
        rows = self.sample_rows
        return self.seconds_all_rows if rows == self.rows else self.seconds_sampled(rows)

    @property
    @_once
    def matrices(self) -> int:
        """Curvatures of d columns."""
        return 1 if self.loss.shares_curvature else self.outputs

    @property
    @_once
    def seconds_full_pass(self) -> float:
        """Seconds of loss and gradient on all rows."""
        return cost(PASS, self.pass_terms)

    @property
    def pass_terms(self) -> tuple[float, ...]:
        """The terms that the constants of `PASS` multiply."""
        return self._pass_terms(self.rows)

    def _pass_terms(self, rows: int) -> tuple[float, ...]:
        numbers = rows * self.columns
        return 1.0, rows * self.outputs, numbers * self.itemsize, numbers * self.outputs

    def seconds_curvature(self, rows: float, rough: bool = False) -> float:
        """Seconds of a curvature on so many rows and of its metric; `rough` on a sample."""
        return cost(CURVATURE, self.curvature_terms(rows, rough)) + self._seconds_metric

    @property
    @_once
    def _seconds_metric(self) -> float:
        """Seconds of the metrics of all matrices."""
        return self.matrices * cost(METRIC, self.metric_terms)

    def curvature_terms(self, rows: float, rough: bool) -> tuple[float, ...]:
        """The terms of `CURVATURE`; products in single precision take half the time."""
        numbers = self.matrices * rows * self.width
        share = 0.5 if rough and self.itemsize == 4 and self.columns >= LONG and not self.joint else 1.0
        return 1.0, rows * self.outputs, numbers, share * numbers * self.width

    @property
    @_once
    def metric_terms(self) -> tuple[float, ...]:
        """The terms of `METRIC`."""
        return 1.0, self.width**2, self.width**3 / 3.0

    @property
    def gram_terms(self) -> tuple[float, ...]:
        """The terms of `GRAM`."""
        width = self.columns + self.outputs
        return 1.0, self.rows, self.rows * width, self.rows * width**2

    @property
    @_once
    def _seconds_descent(self) -> float:
        """Seconds of coordinate descents in a metric."""
        # As many coordinates as there are parameters, each with a row of the matrix.
        return DESCENT[0] * self.outputs * self.columns * self.width if self.l1 else 0.0

    def seconds_sampled(self, rows: float) -> float:
        """Seconds of a fit with so many rows in the sample."""
        a_parameter = max(rows / (self.parameters * self.rarity), 2.0)
        passes = self._coupled_passes if self.couples else 1.0 + self._count_passes(a_parameter)
        on_sample = _COUPLED_SAMPLE_PASSES if self.couples else _SAMPLE_PASSES
        sample = cost(PASS, self._pass_terms(int(rows)))
        steps = (on_sample + passes) * self._seconds_descent
        return (
            self._seconds_first_sample
            + self.seconds_curvature(rows, rough=True)
            + on_sample * sample
            + passes * self.seconds_full_pass
            + steps
        )

    @property
    @_once
    def couples(self) -> bool:
        """Whether outputs couple in a way that the curvature does not know."""
        return self.loss.couples_outputs and not self.joint

    @property
    def _coupled_passes(self) -> int:
        """Passes of coupled outputs in the metric that they share.

        At an elastic net they depend on alpha, which a shape does not know: about 7 at 0.1, 15 at 0.01, 30 at 0.001.
        """
        return COUPLED_PASSES[self.l1]

    def _count_passes(self, rows_a_parameter: float) -> float:
        """Passes until the distance from the minimum has shrunk by `_GAIN`, of which the sample does its part."""
        return math.log(_GAIN / rows_a_parameter) / math.log(max(rows_a_parameter / 1.5, 1.5))

    @property
    @_once
    def has_first_sample(self) -> bool:
        """Whether Newton's method on a smaller sample comes first."""
        return not self.loss.is_quadratic and not self.couples and self.width <= FIRST_COLUMNS

    @property
    @_once
    def first_rows(self) -> int:
        """Rows of the first sample, whose optimum need not be close."""
        return int(min(FIRST_ROWS * self.width * math.sqrt(self.rarity), most_rows(self.rows)))

    @property
    @_once
    def _seconds_first_sample(self) -> float:
        """Seconds of Newton's method on the first sample."""
        return _FIRST_CURVATURES * self.seconds_curvature(self.first_rows) if self.has_first_sample else 0.0

    @property
    @_once
    def seconds_all_rows(self) -> float:
        """Seconds of a fit whose curvatures are of all rows."""
        if self.couples:
            return self.seconds_curvature(self.rows) + self._coupled_passes * (
                self.seconds_full_pass + self._seconds_descent
            )
        steps = _SQUARED_STEPS if self.loss.is_quadratic else NEWTON_STEPS
        return steps * (self.seconds_curvature(self.rows) + self._seconds_descent)

    @property
    @_once
    def sample_rows(self) -> int:
        """Rows of the sample with which a fit is expected to be the quickest; all rows where none is quicker."""
        most = most_rows(self.rows)
        if most == 0 or self.seconds_all_rows <= self._least_seconds_sampled:
            return self.rows
        sizes = [min(ratio * self.parameters * self.rarity, most) for ratio in _ROWS_A_PARAMETER]
        best = min(sizes, key=self.seconds_sampled)
        return int(best) if self.seconds_sampled(best) < self.seconds_all_rows else self.rows

    @property
    def _least_seconds_sampled(self) -> float:
        """Seconds that a fit takes with a sample of any size: where data are small that spares looking for one."""
        on_sample = _COUPLED_SAMPLE_PASSES if self.couples else _SAMPLE_PASSES
        passes = self._coupled_passes if self.couples else 1.0 + self._count_passes(_ROWS_A_PARAMETER[-1])
        return (
            self._seconds_first_sample
            + self.seconds_curvature(0.0)
            + on_sample * PASS[0]
            + passes * self.seconds_full_pass
        )

    @property
    @_once
    def seconds_normal_equations(self) -> float:
        """Seconds of a fit by the Gram matrix."""
        descents = self.outputs * DESCENT[1] * self.columns**2 if self.l1 else 0.0
        return cost(GRAM, self.gram_terms) + cost(METRIC, self.metric_terms) + descents

    def seconds_lbfgs(self, hardness: float) -> float:
        """Seconds of a fit by L-BFGS."""
        return _passes(LBFGS_PASSES, hardness) * (self.seconds_full_pass + cost(LBFGS_STEP, self.step_terms))

    def seconds_accelerated(self, hardness: float) -> float:
        """Seconds of a fit by the accelerated gradient."""
        return _passes(ACCELERATED_PASSES, hardness) * (
            self.seconds_full_pass + cost(ACCELERATED_STEP, self.step_terms)
        )

    @property
    def step_terms(self) -> tuple[float, ...]:
        """The terms of `LBFGS_STEP` and `ACCELERATED_STEP`."""
        return 1.0, self.columns * self.outputs


def _passes(constants: tuple[float, float], hardness: float) -> float:
    return constants[0] * hardness ** constants[1]
