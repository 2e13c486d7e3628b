"""What solvers cost, from the shape of the data: sizes of samples and the choice of a solver follow from it."""

import math

from fastgd.objective import Objective

#: Seconds of a pass a byte of X, and of a curvature a multiplication: measured together, their ratio is what counts.
PASS_BYTE = 1.0 / 4.0e10
CURVATURE_FLOP = 1.0 / 6.5e10
_ROWS_A_COLUMN = [8 * 2 ** (k / 2) for k in range(12)]


def sample_size(objective: Objective) -> int:
    """Rows of the sample with which the whole fit is expected to be the quickest."""
    data, columns = objective.data, objective.data.d + 1
    outputs = 1 if objective.problem.loss == "squared" else objective.outputs
    one_pass = data.nbytes * PASS_BYTE

    def seconds(rows_a_column: float) -> float:
        rows = rows_a_column * columns
        digits = math.log(1e6 / rows_a_column)
        passes = digits / math.log(rows_a_column / 1.5)
        return rows * columns**2 * outputs * CURVATURE_FLOP + passes * one_pass

    return int(min(_ROWS_A_COLUMN, key=seconds) * columns)
