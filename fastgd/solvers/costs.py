"""What solvers are expected to cost, from the shape of the data: the choice of a solver and sizes of samples.

Seconds on the machine that `bench/costs.py` measured last; only their ratios count, which vary little.
"""

import math
from typing import NamedTuple

import numpy as np

from fastgd.backends.cpu_design import LONG
from fastgd.objective import Objective

#: Of a full pass: once, a byte of X, a number of X and an output.
PASS, PASS_BYTE, PASS_NUMBER = 1.0e-4, 2.5e-11, 5.0e-11
#: Of a curvature: once, a number of a row in working coordinates, a multiplication of its product with itself.
CURVATURE, ROW_NUMBER, PRODUCT = 1.0e-4, 2.5e-9, 1.4e-11
#: Of the Gram matrix of all rows: a multiplication.
GRAM_PRODUCT = 1.0e-11
#: Of an elimination of d columns: a multiplication.
SOLVE = 1.5e-11
#: Iterations of Newton's method, passes of L-BFGS and of the accelerated gradient.
NEWTON_STEPS, LBFGS_PASSES, ACCELERATED_PASSES = 6, 60, 200
#: Passes of coupled outputs in the metric that they share.
COUPLED_PASSES = 10
#: What a fit gains in all, as a factor of the objective's distance from its minimum.
_GAIN = 1e6
#: Sizes of samples that are considered, in rows a parameter; at most this share of all rows.
_ROWS_A_PARAMETER = [8 * 2 ** (k / 2) for k in range(12)]
_MOST = 0.24
#: Rows a column of the first sample.
FIRST_ROWS = 20
#: Columns up to which Newton's method on a first sample costs little.
FIRST_COLUMNS = 200


class Shape(NamedTuple):
    """What costs depend on; columns with the intercept's."""

    rows: int
    columns: int
    outputs: int
    itemsize: int
    loss: str
    l1: bool
    #: Rows that tell as much as one of balanced classes.
    rarity: float = 1.0

    @classmethod
    def of(cls, objective: Objective) -> "Shape":
        """An objective's."""
        data = objective.data
        loss, l1 = objective.problem.loss, bool(np.any(objective.problem.l1))
        rarity = 0.25 / objective.problem.constant.rms**2 if loss == "logistic" else 1.0
        return cls(data.n, data.d + 1, objective.outputs, 4 if data.dtype == "f4" else 8, loss, l1, max(1.0, rarity))

    @property
    def parameters(self) -> int:
        """Parameters that share the rows' information: of softmax all, else an output's."""
        return self.columns * (self.outputs if self.loss == "softmax" else 1)

    @property
    def matrices(self) -> int:
        """Curvatures of d columns."""
        return 1 if self.loss in ("squared", "softmax") else self.outputs

    @property
    def full_pass(self) -> float:
        """Seconds of loss and gradient on all rows: memory's, or arithmetic's where there are many outputs."""
        numbers = self.rows * self.columns
        return PASS + max(numbers * self.itemsize * PASS_BYTE, numbers * self.outputs * PASS_NUMBER)

    def curvature(self, rows: float, rough: bool = False) -> float:
        """Seconds of a curvature on so many rows, factored; `rough` on a sample."""
        product = PRODUCT * (0.5 if rough and self.itemsize == 4 and self.columns >= LONG else 1.0)
        work = rows * self.columns * (ROW_NUMBER + product * self.columns) + SOLVE * self.columns**3 / 3.0
        return CURVATURE + self.matrices * work

    def sketched(self, rows: float) -> float:
        """Seconds of a fit with so many rows in the sample."""
        a_parameter = max(rows / (self.parameters * self.rarity), 2.0)
        passes = COUPLED_PASSES if self.loss == "softmax" else 1.0 + self._digits(a_parameter)
        first = 5.0 * self.curvature(self.first_rows) if self.has_first_sample else 0.0
        sample = self.curvature(rows, rough=True) + 4.0 * (PASS + rows / self.rows * self.full_pass)
        return first + sample + passes * self.full_pass

    def _digits(self, rows_a_parameter: float) -> float:
        """Passes until the distance from the minimum has shrunk by `_GAIN`, of which the sample does its part."""
        return math.log(_GAIN / rows_a_parameter) / math.log(max(rows_a_parameter / 1.5, 1.5))

    @property
    def has_first_sample(self) -> bool:
        """Whether Newton's method on a smaller sample comes first."""
        return self.loss not in ("squared", "softmax") and self.columns <= FIRST_COLUMNS

    @property
    def first_rows(self) -> int:
        """Rows of the first sample, whose optimum need not be close."""
        return int(min(FIRST_ROWS * self.columns * math.sqrt(self.rarity), _MOST * self.rows))

    @property
    def plain(self) -> float:
        """Seconds of a fit whose curvatures are of all rows."""
        if self.loss == "softmax":
            return self.curvature(self.rows) + COUPLED_PASSES * self.full_pass
        return NEWTON_STEPS * self.curvature(self.rows)

    @property
    def sample_rows(self) -> int:
        """Rows of the sample with which a fit is expected to be the quickest; all rows where none is quicker."""
        sizes = [min(ratio * self.parameters * self.rarity, _MOST * self.rows) for ratio in _ROWS_A_PARAMETER]
        best = min(sizes, key=self.sketched)
        return int(best) if self.sketched(best) < self.plain else self.rows

    @property
    def normal_equations(self) -> float:
        """Seconds of a fit by the Gram matrix."""
        numbers = self.rows * (self.columns + self.outputs)
        gram = numbers * max(self.itemsize * PASS_BYTE, GRAM_PRODUCT * (self.columns + self.outputs))
        return PASS + gram + SOLVE * self.columns**3 / 3.0

    @property
    def lbfgs(self) -> float:
        """Seconds of a fit by L-BFGS."""
        return LBFGS_PASSES * self.full_pass

    @property
    def accelerated(self) -> float:
        """Seconds of a fit by the accelerated gradient."""
        return ACCELERATED_PASSES * self.full_pass
