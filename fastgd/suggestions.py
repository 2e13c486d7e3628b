"""Suggest remedies for unknown names: misspelt ones, and those of scikit-learn, PyTorch and other libraries."""

import inspect
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, Self

__all__ = ["ESTIMATORS", "RULES", "Checked", "did_you_mean", "unknown_loss", "unknown_optimizer", "unknown_parameter"]


def _by_name(remedies: Mapping[str, str]) -> Mapping[str, str]:
    """Return name -> remedy from lists of names that share one."""
    return {name: remedy for names, remedy in remedies.items() for name in names.split()}


#: Parameters of other libraries' estimators -> the remedy.
ESTIMATORS = _by_name(
    {
        "C": "use alpha = 1 / (C * n_samples), with the sum of the weights for n_samples where rows are weighted",
        "penalty": "use alpha with l1_ratio: 'l2' is l1_ratio=0.0, 'l1' is l1_ratio=1.0, None is alpha=0.0",
        "solver algorithm": "use optimizer; its default, 'auto', chooses a solver",
        "n_jobs": "use n_threads",
        "loss": "LogisticRegression minimises the log loss, so leave it out; LinearRegression has loss",
        "learning_rate learning_rate_init eta0 lr eta step_size": "the learning rate belongs to the optimizer: "
        "use optimizer=optimizers.GradientDescent(learning_rate=0.01)",
        "power_t": "use optimizer=optimizers.GradientDescent(schedules.InverseTimeDecay(0.01, power=power_t))",
        "schedule": "use optimizer=optimizers.GradientDescent(schedules.StepDecay(0.01)), "
        "or another of fastgd.schedules",
        "betas": "use optimizer=optimizers.Adam(beta1=betas[0], beta2=betas[1])",
        "beta1": "use optimizer=optimizers.Adam(beta1=beta1)",
        "beta2": "use optimizer=optimizers.Adam(beta2=beta2)",
        "beta_1": "use optimizer=optimizers.Adam(beta1=beta_1)",
        "beta_2": "use optimizer=optimizers.Adam(beta2=beta_2)",
        "momentum": "use optimizer=optimizers.Momentum(momentum=momentum)",
        "nesterovs_momentum nesterov": "use optimizer=optimizers.Nesterov()",
        "weight_decay": "use alpha, or optimizer=optimizers.AdamW(weight_decay=weight_decay)",
        "average": "use optimizer=optimizers.GradientDescent(average=True) with a batch_size",
        "line_search": "use optimizer=optimizers.GradientDescent(line_search='backtracking') with batch_size='full'",
        "epsilon": "use loss='huber' with delta, in the units of y: HuberRegressor's epsilon times its scale_",
        "gamma": "it belongs to kernels (sklearn.kernel_approximation), "
        "or to a rate as schedules.StepDecay(factor=gamma)",
        "positive": "coefficients of this estimator are not constrained",
        "multi_class": "three or more classes are one softmax model, so leave it out; for one model per class use "
        "sklearn.multiclass.OneVsRestClassifier",
        "class_weight": "only LogisticRegression has classes; weigh rows by sample_weight in fit",
        "delta": "only LinearRegression has it, with loss='huber'",
        "dual": "every solver works on the primal problem: leave it out",
        "intercept_scaling": "the intercept is never penalised: leave it out",
        "copy_X": "X is never changed and rarely copied: leave it out",
        "precompute": "optimizer='auto' decides: leave it out",
        "selection": "there is no coordinate descent: leave it out",
        "normalize": "use standardize",
        "intercept": "use fit_intercept",
        "epochs n_epochs num_epochs n_iter max_epochs n_iterations maxiter": "use max_iter",
        "seed": "use random_state",
        "tolerance": "use tol",
        "eps": "use tol to say when to stop; a rule's eps belongs to the optimizer: optimizers.Adam(eps=1e-8)",
        "patience": "use n_iter_no_change",
        "timeout": "use max_seconds, in seconds",
        "lambda_ lam reg_lambda": "use alpha",
        "reg_alpha": "use alpha with l1_ratio=1.0",
        "callbacks": "give it to fit: model.fit(X, y, callbacks=callback)",
        "gpu": "use device='cuda'",
    }
)

#: The same for the objects of `fastgd.optimizers` and `fastgd.schedules`.
RULES = _by_name(
    {
        "lr eta eta0 learning_rate_init": "use learning_rate",
        "step_size": "use learning_rate, or in a schedule StepDecay(every=step_size), in epochs",
        "betas": "use beta1=betas[0], beta2=betas[1]",
        "beta_1": "use beta1",
        "beta_2": "use beta2",
        "rho": "use decay, of RMSProp or AdaDelta",
        "alpha": "alpha belongs to the estimator; the smoothing of RMSProp is decay",
        "epsilon": "use eps",
        "gamma": "use factor, of schedules.StepDecay or schedules.ExponentialDecay",
        "nesterov": "use optimizers.Nesterov",
        "momentum": "use optimizers.Momentum or optimizers.Nesterov",
        "amsgrad": "use optimizers.AMSGrad",
        "weight_decay": "use the estimator's alpha, or optimizers.AdamW",
        "history_size": "use memory",
        "T_max total_steps": "use epochs",
        "eta_min": "use final",
        "max_lr": "use peak",
        "pct_start": "use rise",
        "min_lr": "use minimum",
        "maxiter max_iter": "max_iter belongs to the estimator or to minimize",
    }
)

#: Optimizers by the names that other libraries give them.
_OPTIMIZERS = _by_name(
    {
        "asgd": "optimizers.GradientDescent(average=True)",
        "batch": "'gd' with batch_size='full'",
        "bfgs l-bfgs-b": "'lbfgs'",
        "cholesky svd": "'normal_equations'",
        "fista": "'accelerated'",
        "heavy_ball": "'momentum'",
        "liblinear": "'auto'",
        "nag": "'nesterov'",
        "newton newton-cg newton-cholesky": "'sketched_newton'",
        "sag": "'saga'",
    }
)

#: Losses by the names that other libraries give them.
_LOSSES = _by_name(
    {
        "squared_error squared_loss mse least_squares l2": "use 'squared'",
        "log_loss log logistic softmax": "use LogisticRegression",
        "absolute_error mae l1": "use 'huber' with a small delta",
    }
)


def did_you_mean(given: object, names: Collection[str]) -> str:
    """Return ``"; did you mean 'adam'?"`` for text that resembles one of `names`, else an empty string."""
    if not isinstance(given, str):
        return ""
    plain = {name.lower().replace("_", ""): name for name in names}
    close = get_close_matches(given.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=0.7)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def unknown_parameter(kind: type, name: str, known: Collection[str], elsewhere: Mapping[str, str]) -> str:
    """Return the message for a parameter that a class does not have.

    It gives the remedy for a name that other libraries use (`elsewhere`), the name that resembles this one, or all that
    are `known`.
    """
    message = f"{name} is not a parameter of {kind.__name__}"
    if name in elsewhere:
        return f"{message}: {elsewhere[name]}"
    return message + (did_you_mean(name, known) or f"; it has {', '.join(known) or 'none'}")


def unknown_optimizer(given: object, names: Collection[str], sgd: str) -> str:
    """Return the hint to append to the message for an optimizer that does not exist, or an empty string.

    `names` are those that exist; `sgd` says how to ask for stochastic gradient descent.
    """
    if isinstance(given, type):
        return f": give an object, {given.__name__}()"
    name = given.lower() if isinstance(given, str) else ""
    if name == "sgd":
        return f": stochastic gradient descent is {sgd}"
    return f": use {_OPTIMIZERS[name]}" if name in _OPTIMIZERS else did_you_mean(given, names)


def unknown_loss(given: object, names: Collection[str]) -> str:
    """Return the hint to append to the message for a loss that linear regression does not have, or an empty string."""
    name = given.lower() if isinstance(given, str) else ""
    return f": {_LOSSES[name]}" if name in _LOSSES else did_you_mean(given, names)


class Checked:
    """A class whose constructor explains keyword arguments that it does not have; signatures stay as they are."""

    #: Remedies by the names that other libraries use.
    _elsewhere: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Raise a TypeError with a remedy for the first unknown keyword argument."""
        constructor: Any = cls.__init__
        known = _parameters(constructor)
        for name in kwargs:
            if name not in known and "**" not in known:
                raise TypeError(unknown_parameter(cls, name, known, cls._elsewhere))
        return super().__new__(cls)


@cache
def _parameters(constructor: Any) -> tuple[str, ...]:
    """Return the names that a constructor takes, and "**" where it takes any."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return tuple("**" if each.kind is each.VAR_KEYWORD else each.name for each in parameters)
