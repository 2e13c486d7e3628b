"""Update rules and solvers: frozen dataclasses of hyper-parameters whose docstrings state formula and source.

They follow scikit-learn's parameter protocol, so that ``GridSearchCV`` reaches ``optimizer__learning_rate`` and
``optimizer__learning_rate__every``, and are never changed by a fit. Throughout, g is the gradient of a batch's
objective without its L1 term, eta the learning rate, t = 1, 2, ... the number of the update, and prox the soft
threshold of the L1 term with the coordinate's own step (the intercept has none). Without an L1 term prox is the
identity.
"""

from typing import Literal

from fastgd.optimizers._adaptive import AdaDelta, AdaGrad, Adam, AdamW, AMSGrad, Nadam, RMSProp
from fastgd.optimizers._base import KernelRule as KernelRule
from fastgd.optimizers._base import Optimizer
from fastgd.optimizers._base import Recipe as Recipe
from fastgd.optimizers._base import WithRate as WithRate
from fastgd.optimizers._descent import SAGA, GradientDescent, Momentum, Nesterov
from fastgd.optimizers._full_batch import LBFGS, Accelerated, NormalEquations, SketchedNewton
from fastgd.optimizers._full_batch import FullBatch as FullBatch

__all__ = [
    "LBFGS",
    "SAGA",
    "AMSGrad",
    "Accelerated",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "GradientDescent",
    "Momentum",
    "Nadam",
    "Nesterov",
    "NormalEquations",
    "Optimizer",
    "RMSProp",
    "SketchedNewton",
]

_KINDS: tuple[type[Optimizer], ...] = (
    GradientDescent,
    Momentum,
    Nesterov,
    AdaGrad,
    RMSProp,
    Adam,
    AMSGrad,
    Nadam,
    AdaDelta,
    AdamW,
    SAGA,
    Accelerated,
    SketchedNewton,
    NormalEquations,
    LBFGS,
)

#: The names of optimizers, for type checkers.
OptimizerName = Literal[
    "gd",
    "momentum",
    "nesterov",
    "adagrad",
    "rmsprop",
    "adam",
    "amsgrad",
    "nadam",
    "adadelta",
    "adamw",
    "saga",
    "accelerated",
    "sketched_newton",
    "normal_equations",
    "lbfgs",
]

#: Optimizers by the names that estimators accept.
BY_NAME = {kind.rule: kind for kind in _KINDS}

#: Kernel rules by name.
KERNEL_RULES = {rule.name: rule for kind in _KINDS for rule in kind.kernel_rules}
