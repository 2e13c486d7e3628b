"""The whole mathematics of fastgd in plain NumPy, float64, slow and obvious: the specification, and the test oracle.

Nothing here is fast and nothing here is used by a fit. The kernels, solvers and estimators are tested against it; it is
itself tested against scikit-learn, scipy, PyTorch, finite differences and hand values.
"""

from fastgd.reference.certificate import Gap, certificate, duality_gap, relative_suboptimality
from fastgd.reference.formulas import Step
from fastgd.reference.intercept import best_constant, constant_gradient_rms, solve_intercept
from fastgd.reference.loop import Plan, Run, batches, run, saga_direction
from fastgd.reference.losses import LOSSES, Loss
from fastgd.reference.objective import (
    Problem,
    hessian,
    l1_thresholds,
    make_problem,
    margins,
    mean_loss,
    mean_loss_gradient,
    objective,
    smooth_gradient,
)
from fastgd.reference.penalties import elastic_net, prox, subgradient_distance
from fastgd.reference.rates import batch_curvature, largest_curvature, largest_row_curvature, safe_rate
from fastgd.reference.rules import RULES, Rule, init, point, reported, update
from fastgd.reference.scaling import (
    Scaling,
    column_moments,
    fit_scaling,
    identity_scaling,
    raw_theta,
    standard_scaling,
    working_problem,
    working_theta,
)
from fastgd.reference.shuffle import epoch_order, row_at

__all__ = [
    "LOSSES",
    "RULES",
    "Gap",
    "Loss",
    "Plan",
    "Problem",
    "Rule",
    "Run",
    "Scaling",
    "Step",
    "batch_curvature",
    "batches",
    "best_constant",
    "certificate",
    "column_moments",
    "constant_gradient_rms",
    "duality_gap",
    "elastic_net",
    "epoch_order",
    "fit_scaling",
    "hessian",
    "identity_scaling",
    "init",
    "l1_thresholds",
    "largest_curvature",
    "largest_row_curvature",
    "make_problem",
    "margins",
    "mean_loss",
    "mean_loss_gradient",
    "objective",
    "point",
    "prox",
    "raw_theta",
    "relative_suboptimality",
    "reported",
    "row_at",
    "run",
    "safe_rate",
    "saga_direction",
    "smooth_gradient",
    "solve_intercept",
    "standard_scaling",
    "subgradient_distance",
    "update",
    "working_problem",
    "working_theta",
]
