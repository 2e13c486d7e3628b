"""What solvers cost, from the shape of the data: sizes of samples and the choice of a solver follow from it."""

import math

from fastgd.backends.cpu_design import LONG
from fastgd.objective import Objective

#: Seconds of a pass a byte of X, and of a curvature a multiplication: measured together, their ratio is what counts.
PASS_BYTE = 1.0 / 4.0e10
CURVATURE_FLOP = 1.0 / 6.5e10
PASS_FLOP = 1.0 / 2.0e10
_ROWS_A_COLUMN = [8 * 2 ** (k / 2) for k in range(12)]


def parameters(objective: Objective) -> int:
    """Parameters that share the rows' information: of softmax all, else an output's."""
    columns = objective.data.d + 1
    return columns * objective.outputs if objective.problem.loss == "softmax" else columns


def metric_passes(objective: Objective, rows: int) -> float:
    """What a curvature on so many rows costs, in full passes."""
    data, columns = objective.data, objective.data.d + 1
    shared = objective.problem.loss in ("squared", "softmax")
    products = min(rows, data.n) * columns**2 * (1 if shared else objective.outputs)
    single = data.dtype == "f4" and columns >= LONG
    return products * CURVATURE_FLOP * (0.5 if single else 1.0) / pass_seconds(objective)


def pass_seconds(objective: Objective) -> float:
    """Of a full pass: memory, or arithmetic where there are many outputs."""
    data = objective.data
    return max(data.nbytes * PASS_BYTE, data.n * data.d * objective.outputs * PASS_FLOP)


def sample_size(objective: Objective) -> int:
    """Rows of the sample with which the whole fit is expected to be the quickest."""
    count = parameters(objective)

    def passes(rows_a_parameter: float) -> float:
        digits = math.log(1e6 / rows_a_parameter)
        return metric_passes(objective, int(rows_a_parameter * count)) + digits / math.log(rows_a_parameter / 1.5)

    return int(min(_ROWS_A_COLUMN, key=passes) * count)
