"""The mathematics of fastgd in plain NumPy and float64: the specification, and the oracle of the tests.

It is written to be read, not to be fast, and no fit uses it. Kernels, solvers and estimators are tested against it; it
is itself tested against scikit-learn, scipy, PyTorch, finite differences and values worked out by hand.
"""

from fastgd.reference.certificate import Gap, certificate, duality_gap, relative_suboptimality
from fastgd.reference.intercept import best_constant, constant_gradient_rms, solve_intercept
from fastgd.reference.loop import Plan, Run, batches, run, saga_direction
from fastgd.reference.losses import LOSSES, Loss
from fastgd.reference.objective import (
    Problem,
    elastic_net,
    hessian,
    l1_thresholds,
    make_problem,
    margins,
    mean_loss,
    mean_loss_gradient,
    objective,
    prox,
    smooth_gradient,
    subgradient_distance,
)
from fastgd.reference.rates import batch_curvature, largest_curvature, largest_row_curvature, safe_rate
from fastgd.reference.rules import RULES, Rule, Step, init, point, reported, update
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
