"""Expected seconds of the solvers from the shape of the data, for the choice of a solver and of sample sizes.

Seconds are those of the machine that `bench/costs.py` measured last; only their ratios matter, which vary little.
"""

import math
from functools import lru_cache
from operator import mul
from typing import NamedTuple

from fastgd.backends.design import LONG, SPARSE_PRODUCT
from fastgd.losses import Loss
from fastgd.objective.objective import Objective
from fastgd.objective.sampling import is_small, most_rows

# Written by python -m bench.costs --write: seconds, passes and steps.
#: Seconds of a full pass: once, a row's output, a byte of X, a multiplication of a number of X.
PASS = (3.0e-05, 9.8e-10, 1.3e-11, 3.5e-11)
#: Seconds of a curvature: once, a row's output, a number of a row made anew, a multiplication of the product.
CURVATURE = (3.1e-05, 2.2e-08, 1.2e-09, 1.5e-11)
#: Seconds of a metric: once, a number of the matrix, a multiplication of its elimination.
METRIC = (1.0e-05, 1.9e-09, 1.2e-11)
#: Seconds of the Gram matrix of all rows: once, a row, a number of it, a multiplication.
GRAM = (9.5e-06, 2.0e-09, 1.6e-11, 9.8e-12)
#: Seconds of an iteration of L-BFGS beside its pass: once, a parameter.
LBFGS_STEP = (2.2e-05, 4.4e-08)
#: Seconds of the same of the accelerated gradient.
ACCELERATED_STEP = (1.1e-05, 1.3e-08)
#: Seconds of coordinate descent per number of the matrix, in SketchedNewton and in NormalEquations.
DESCENT = (4.7e-09, 1.4e-08)
#: Steps of Newton's method, passes of coupled outputs in the metric that they share: smooth, and at an elastic net.
NEWTON_STEPS, COUPLED_PASSES = 4, (12, 15)
#: Passes of solvers without a metric: at a hardness of 1, and the power of it that they grow with.
LBFGS_PASSES = (17, 1.1)
ACCELERATED_PASSES = (42, 1.2)
# End of what is written.

#: Seconds of a pass for a stored number of a sparse row and output, on data of 1,000 to 50,000 columns.
_STORED = 1.2e-9
#: Seconds of a product of two stored numbers of a sparse row by elimination, and of a number of its matrices.
_ELIMINATION = (7e-10, 1e-8)
#: Bytes of a sparse row's pointer, and of a column's number.
_ROW_BYTES, _INDEX_BYTES = 8, 4
#: Time of an inverse, in eliminations.
_INVERSE = 2.0
#: Passes of a fit by elimination: to find the columns, and after a step.
_ELIMINATION_PASSES = 2
#: Newton's steps on a squared loss.
_SQUARED_STEPS = 2
#: Curvatures of the first sample, and passes over the sample, of which coupled outputs take more.
_FIRST_CURVATURES, _SAMPLE_PASSES, _COUPLED_SAMPLE_PASSES = 5, 4, 15
#: Rows of a sample by norm that are as informative as one row of data without rare values.
_BY_NORM = 2.5
#: Seconds of Python for a step and its record, beside passes and matrices: fits of 5,000 x 10 to 20,000 x 30 with and
#: without a sample take as long as the formulas say with 6e-5 to 1.5e-4.
_STEP = 8e-5
#: Factor by which a fit reduces the suboptimality.
_GAIN = 1e6
#: Candidate sizes of samples, in rows per parameter.
_ROWS_A_PARAMETER = [8 * 2 ** (k / 2) for k in range(12)]
#: Rows per column of the first sample.
FIRST_ROWS = 20
#: Columns up to which Newton's method on a first sample costs little.
FIRST_COLUMNS = 200
#: Most columns for solvers that hold d x d matrices.
MOST_COLUMNS = 4000
#: Most parameters of softmax for their joint curvature, whose memory is their square.
MOST_JOINT = 1024


def cost(constants: tuple[float, ...], terms: tuple[float, ...]) -> float:
    """Return the sum of constants times terms, in seconds."""
    return sum(map(mul, constants, terms))


#: Compute a property once per shape: a fit has a few shapes, which are small tuples.
_once = lru_cache(maxsize=256)


def informed_parameters(objective: Objective) -> int:
    """Return the number of parameters estimated jointly: those of all outputs if coupled, else of one."""
    return (objective.data.d + 1) * (objective.outputs if objective.problem.loss.couples_outputs else 1)


class _SampleCosts(NamedTuple):
    """Seconds of a fit with a sample: once, per row of it, and per pass over all rows."""

    fixed: float
    row: float
    step: float


class Shape(NamedTuple):
    """The properties of a problem that costs depend on; columns include the intercept."""

    rows: int
    columns: int
    outputs: int
    itemsize: int
    loss: Loss
    l1: bool
    #: Rows that are as informative as one row of balanced classes, equal weights and no heavy tails.
    rarity: float = 1.0
    #: Whether softmax uses the joint curvature of all outputs.
    joint: bool = False
    #: Stored numbers of a sparse row, on average; None for dense rows.
    stored: float | None = None
    #: Whether L-BFGS keeps combinations of rows.
    in_row_space: bool = False
    #: Columns of which no row has two.
    exclusive: int = 0

    @classmethod
    def of(cls, objective: Objective) -> "Shape":
        """Return the shape of an objective."""
        data = objective.data
        loss, l1 = objective.problem.loss, objective.has_l1
        tails = _BY_NORM if objective.has_rare_values else objective.tail_weight
        rarity = loss.rarity(objective.problem.constant) * tails * data.n / data.effective_rows
        itemsize = 4 if data.dtype == "f4" else 8
        stored = None
        if data.is_sparse:
            stored = (data.nbytes - _ROW_BYTES * (data.n + 1)) / (data.n * (itemsize + _INDEX_BYTES))
        spans = objective.row_space is not None
        columns = objective.exclusive_columns
        exclusive = 0 if columns is None else columns.columns.stop - columns.columns.start
        return cls(data.n, data.d + 1, objective.outputs, itemsize, loss, l1, rarity, False, stored, spans, exclusive)

    @property
    @_once
    def parameters(self) -> int:
        """Number of parameters estimated jointly: those of all outputs if coupled, else of one."""
        return self.columns * (self.outputs if self.loss.couples_outputs else 1)

    @property
    @_once
    def width(self) -> int:
        """Rows of a curvature matrix."""
        return self.columns * self.outputs if self.joint else self.columns

    @property
    @_once
    def quicker_curvature(self) -> "Shape":
        """The shape with the joint curvature, unless that is expected to take longer."""
        whole = self.with_joint_curvature
        return self if whole is None or whole.seconds_newton > self.seconds_newton else whole

    @property
    @_once
    def with_joint_curvature(self) -> "Shape | None":
        """The shape with the joint curvature of softmax; None for other losses and if it needs too much memory."""
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
        """Number of curvature matrices."""
        return 1 if self.loss.shares_curvature else self.outputs

    @property
    @_once
    def seconds_full_pass(self) -> float:
        """Seconds of a pass: loss and gradient on all rows."""
        return cost(PASS, self.pass_terms) if self.stored is None else PASS[0] + self.rows * self._seconds_row

    @property
    @_once
    def _seconds_row(self) -> float:
        """Seconds of a row in a pass."""
        if self.stored is None:
            return cost(PASS[1:], self._pass_terms(1)[1:])
        return self.outputs * (PASS[1] + _STORED * self.stored)

    @property
    def pass_terms(self) -> tuple[float, ...]:
        """Terms for the constants `PASS`."""
        return self._pass_terms(self.rows)

    def _pass_terms(self, rows: int) -> tuple[float, ...]:
        numbers = rows * self.columns
        return 1.0, rows * self.outputs, numbers * self.itemsize, numbers * self.outputs

    def seconds_curvature(self, rows: float, rough: bool = False) -> float:
        """Return the seconds of a curvature on `rows` rows and of its metric; `rough` on a sample."""
        return cost(CURVATURE, self.curvature_terms(rows, rough)) + self._seconds_metric

    @property
    @_once
    def _seconds_metric(self) -> float:
        """Seconds to factor all curvature matrices."""
        return self.matrices * cost(METRIC, self.metric_terms)

    def curvature_terms(self, rows: float, rough: bool) -> tuple[float, ...]:
        """Return the terms for `CURVATURE`; products in single precision take half the time."""
        numbers = self.matrices * rows * self._row_numbers(self.width)
        share = 0.5 if rough and self.itemsize == 4 and self.columns >= LONG and not self.joint else 1.0
        return 1.0, rows * self.outputs, numbers, share * self.matrices * rows * self._row_products(self.width)

    def _row_numbers(self, width: int) -> float:
        """Return the numbers of a row of a matrix of products."""
        return width if self.stored is None or self.joint else self.stored + 1.0

    def _row_products(self, width: int) -> float:
        """Return the products of a row, in units of those of dense rows."""
        dense = float(width**2)
        return dense if self.stored is None or self.joint else min(SPARSE_PRODUCT * (self.stored + 1.0) ** 2, dense)

    @property
    @_once
    def metric_terms(self) -> tuple[float, ...]:
        """Terms for `METRIC`."""
        return 1.0, self.width**2, self.width**3 / 3.0

    @property
    def gram_terms(self) -> tuple[float, ...]:
        """Terms for `GRAM`."""
        width = self.columns + self.outputs
        numbers, products = self._row_numbers(width), self._row_products(width)
        return 1.0, self.rows, self.rows * numbers, self.rows * products

    @property
    @_once
    def _seconds_descent(self) -> float:
        """Seconds of the coordinate descents of a proximal step."""
        # One coordinate per parameter, each with a row of the matrix.
        return DESCENT[0] * self.outputs * self.columns * self.width if self.l1 else 0.0

    @property
    @_once
    def _seconds_step(self) -> float:
        """Seconds of a step in a metric beside its pass."""
        return _STEP + self._seconds_descent

    def seconds_sampled(self, rows: float) -> float:
        """Return the seconds of a fit with a sample of `rows` rows."""
        costs = self._sample_costs
        return costs.fixed + rows * costs.row + self._count_passes(rows / (self.parameters * self.rarity)) * costs.step

    @property
    @_once
    def _sample_costs(self) -> "_SampleCosts":
        on_sample = _COUPLED_SAMPLE_PASSES if self.couples else _SAMPLE_PASSES
        curvature = self.curvature_terms(1.0, rough=True)
        return _SampleCosts(
            self._seconds_first_sample
            + CURVATURE[0]
            + self._seconds_metric
            + on_sample * (PASS[0] + self._seconds_step),
            cost(CURVATURE[1:], curvature[1:]) + on_sample * self._seconds_row,
            self.seconds_full_pass + self._seconds_step,
        )

    @property
    @_once
    def couples(self) -> bool:
        """Whether outputs couple and the curvature leaves that out."""
        return self.loss.couples_outputs and not self.joint

    @property
    def _coupled_passes(self) -> int:
        """Passes of coupled outputs in the metric that they share.

        With an elastic net they depend on alpha, which a shape leaves out: about 7 at 0.1, 15 at 0.01, 30 at 0.001.
        """
        return COUPLED_PASSES[self.l1]

    def _count_passes(self, rows_a_parameter: float) -> float:
        """Return the passes that reduce the suboptimality by `_GAIN`, after the reduction on the sample."""
        if self.couples:
            return self._coupled_passes
        ratio = max(rows_a_parameter, 2.0)
        return 1.0 + math.log(_GAIN / ratio) / math.log(max(ratio / 1.5, 1.5))

    def passes_of_metric(self, rows: float) -> float:
        """Return the cost of a metric of `rows` rows, in passes."""
        return self.seconds_curvature(rows) / self.seconds_full_pass

    def passes_in_new_metric(self, rows: int, ahead: float) -> float:
        """Return the cost in passes of a new metric and of the steps that reduce the suboptimality by exp(ahead)."""
        metric = self.passes_of_metric(rows)
        if rows == self.rows and not self.couples:
            # Newton's method squares the error at each step.
            return (1.0 + metric) * math.log2(max(ahead, 2.0))
        fall = math.log(max(rows / (self.parameters * self.rarity) / 1.5, 1.5))
        return metric + ahead / (min(fall, math.log(_GAIN) / self._coupled_passes) if self.couples else fall)

    @property
    @_once
    def has_first_sample(self) -> bool:
        """Whether a fit starts with Newton's method on a smaller sample."""
        return not self.loss.is_quadratic and not self.couples and self.width <= FIRST_COLUMNS

    @property
    @_once
    def first_rows(self) -> int:
        """Rows of the first sample, whose optimum may be rough."""
        return int(min(FIRST_ROWS * self.width * math.sqrt(self.rarity), most_rows(self.rows)))

    @property
    @_once
    def _seconds_first_sample(self) -> float:
        """Seconds of Newton's method on the first sample."""
        return _FIRST_CURVATURES * (self.seconds_curvature(self.first_rows) + _STEP) if self.has_first_sample else 0.0

    @property
    @_once
    def seconds_all_rows(self) -> float:
        """Seconds of a fit with curvatures on all rows."""
        if self.couples:
            return self.seconds_curvature(self.rows) + self._coupled_passes * (
                self.seconds_full_pass + self._seconds_step
            )
        steps = _SQUARED_STEPS if self.loss.is_quadratic else NEWTON_STEPS
        return steps * (self.seconds_curvature(self.rows) + self._seconds_step)

    @property
    def takes_all_rows(self) -> bool:
        """Whether the data are so small that Newton's method on all rows is worth its digits."""
        other = self.loss.is_quadratic or self.l1 or self.loss.couples_outputs
        return not other and is_small(self.rows, self.columns)

    @property
    @_once
    def sample_rows(self) -> int:
        """Rows of the sample with the least expected time; all rows if no sample is quicker."""
        most = most_rows(self.rows)
        if most == 0 or self.takes_all_rows or self.seconds_all_rows <= self._least_seconds_sampled:
            return self.rows
        best, least = float(most), math.inf
        for ratio in _ROWS_A_PARAMETER:
            size = min(ratio * self.parameters * self.rarity, most)
            seconds = self.seconds_sampled(size)
            # Seconds are convex in the logarithm of the size.
            if seconds >= least:
                break
            best, least = size, seconds
        return int(best) if least < self.seconds_all_rows else self.rows

    @property
    def _least_seconds_sampled(self) -> float:
        """Lower bound of the seconds with any sample; on small data it spares the search for a size."""
        return self._sample_costs.fixed + self._count_passes(_ROWS_A_PARAMETER[-1]) * self._sample_costs.step

    @property
    @_once
    def seconds_normal_equations(self) -> float:
        """Seconds of a fit by the Gram matrix, or by elimination if that takes less."""
        return self._seconds_elimination if self.eliminates else self._seconds_gram

    @property
    def eliminates(self) -> bool:
        """Whether normal equations eliminate columns of which no row has two."""
        return self.exclusive > 0 and self._seconds_elimination < self._seconds_gram

    @property
    @_once
    def _seconds_elimination(self) -> float:
        """Seconds of a fit by elimination of the exclusive columns."""
        stored, others = self.stored or 0.0, self.columns - self.exclusive
        # Half of those of other columns, all of an exclusive one, and those with 1 and targets.
        products = self.rows * stored * (0.5 * (stored + 1.0) + 2.0 + self.outputs)
        sums = cost(_ELIMINATION, (products, self.columns * others))
        multiplications = self.exclusive * others**2 + others**3 / 3.0
        return sums + METRIC[2] * multiplications + _ELIMINATION_PASSES * self.seconds_full_pass

    @property
    @_once
    def _seconds_gram(self) -> float:
        """Seconds of a fit by the Gram matrix of all columns."""
        descents = self.outputs * DESCENT[1] * self.columns**2 if self.l1 else 0.0
        return cost(GRAM, self.gram_terms) + cost(METRIC, self.metric_terms) + self._seconds_inverse + descents

    @property
    def _seconds_inverse(self) -> float:
        """Seconds of the inverse by which normal equations bound the rounding of coefficients."""
        return 0.0 if self.l1 else _INVERSE * METRIC[2] * self.metric_terms[2]

    def seconds_lbfgs(self, hardness: float) -> float:
        """Seconds of a fit by L-BFGS."""
        vectors = self.rows if self.in_row_space else self.columns
        return self._passes(LBFGS_PASSES, hardness) * (
            self.seconds_full_pass + _STEP + cost(LBFGS_STEP, (1.0, vectors * self.outputs))
        )

    def seconds_accelerated(self, hardness: float) -> float:
        """Seconds of a fit by the accelerated gradient."""
        return self._passes(ACCELERATED_PASSES, hardness) * (
            self.seconds_full_pass + _STEP + cost(ACCELERATED_STEP, self.step_terms)
        )

    @property
    def step_terms(self) -> tuple[float, ...]:
        """The terms of `LBFGS_STEP` and `ACCELERATED_STEP`."""
        return 1.0, self.columns * self.outputs

    def _passes(self, constants: tuple[float, float], hardness: float) -> float:
        """Return the passes of a solver without a metric.

        Where few rows carry the curvature, it changes more on the way: on one-hot data and pixels L-BFGS takes 1.3 to 3
        times the passes that correlations alone predict.
        """
        return constants[0] * (hardness * math.sqrt(self.rarity)) ** constants[1]
