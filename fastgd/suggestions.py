"""Hints for names that do not exist here: misspelt ones, and those of scikit-learn, PyTorch and other libraries."""

import inspect
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, Self

__all__ = ["ESTIMATORS", "RULES", "Checked", "did_you_mean", "unknown_loss", "unknown_optimizer", "unknown_parameter"]

_RATE = "the learning rate belongs to the optimizer: use optimizer=optimizers.GradientDescent(learning_rate=0.01)"
_NO_NEED = "leave it out"
_EPOCHS = "use max_iter"

#: Parameters that other libraries give their estimators, and what stands for them here.
ESTIMATORS: Mapping[str, str] = {
    "C": "use alpha = 1 / (C * n_samples), with the sum of the weights for n_samples where rows are weighted",
    "penalty": "use alpha with l1_ratio: 'l2' is l1_ratio=0.0, 'l1' is l1_ratio=1.0, None is alpha=0.0",
    "solver": "use optimizer; its default, 'auto', chooses a solver",
    "algorithm": "use optimizer; its default, 'auto', chooses a solver",
    "n_jobs": "use n_threads",
    "loss": "LogisticRegression minimises the log loss, so leave it out; LinearRegression has loss",
    "learning_rate": _RATE,
    "learning_rate_init": _RATE,
    "eta0": _RATE,
    "lr": _RATE,
    "eta": _RATE,
    "step_size": _RATE,
    "power_t": "use optimizer=optimizers.GradientDescent(schedules.InverseTimeDecay(0.01, power=power_t))",
    "schedule": "use optimizer=optimizers.GradientDescent(schedules.StepDecay(0.01)), or another of fastgd.schedules",
    "betas": "use optimizer=optimizers.Adam(beta1=betas[0], beta2=betas[1])",
    "beta1": "use optimizer=optimizers.Adam(beta1=beta1)",
    "beta2": "use optimizer=optimizers.Adam(beta2=beta2)",
    "beta_1": "use optimizer=optimizers.Adam(beta1=beta_1)",
    "beta_2": "use optimizer=optimizers.Adam(beta2=beta_2)",
    "momentum": "use optimizer=optimizers.Momentum(momentum=momentum)",
    "nesterovs_momentum": "use optimizer=optimizers.Nesterov()",
    "nesterov": "use optimizer=optimizers.Nesterov()",
    "weight_decay": "use alpha, or optimizer=optimizers.AdamW(weight_decay=weight_decay)",
    "average": "use optimizer=optimizers.GradientDescent(average=True) with a batch_size",
    "line_search": "use optimizer=optimizers.GradientDescent(line_search='backtracking') with batch_size='full'",
    "epsilon": "use loss='huber' with delta, in the units of y: HuberRegressor's epsilon times its scale_",
    "gamma": "it belongs to kernels (sklearn.kernel_approximation), or to a rate as schedules.StepDecay(factor=gamma)",
    "positive": "coefficients of this estimator are not constrained",
    "multi_class": "three or more classes are one softmax model, so leave it out; for one model per class use "
    "sklearn.multiclass.OneVsRestClassifier",
    "class_weight": "only LogisticRegression has classes; weigh rows by sample_weight in fit",
    "delta": "only LinearRegression has it, with loss='huber'",
    "dual": f"every solver works on the primal problem: {_NO_NEED}",
    "intercept_scaling": f"the intercept is never penalised: {_NO_NEED}",
    "copy_X": f"X is never changed and rarely copied: {_NO_NEED}",
    "precompute": f"optimizer='auto' decides: {_NO_NEED}",
    "selection": f"there is no coordinate descent: {_NO_NEED}",
    "normalize": "use standardize",
    "intercept": "use fit_intercept",
    "epochs": _EPOCHS,
    "n_epochs": _EPOCHS,
    "num_epochs": _EPOCHS,
    "n_iter": _EPOCHS,
    "max_epochs": _EPOCHS,
    "n_iterations": _EPOCHS,
    "maxiter": _EPOCHS,
    "seed": "use random_state",
    "tolerance": "use tol",
    "eps": "use tol to say when to stop; a rule's eps belongs to the optimizer: optimizers.Adam(eps=1e-8)",
    "patience": "use n_iter_no_change",
    "timeout": "use max_seconds, in seconds",
    "lambda_": "use alpha",
    "lam": "use alpha",
    "reg_lambda": "use alpha",
    "reg_alpha": "use alpha with l1_ratio=1.0",
    "callbacks": "give it to fit: model.fit(X, y, callbacks=callback)",
    "gpu": "use device='cuda'",
}

#: The same for the objects of `fastgd.optimizers` and `fastgd.schedules`.
RULES: Mapping[str, str] = {
    "lr": "use learning_rate",
    "eta": "use learning_rate",
    "eta0": "use learning_rate",
    "learning_rate_init": "use learning_rate",
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
    "T_max": "use epochs",
    "eta_min": "use final",
    "max_lr": "use peak",
    "total_steps": "use epochs",
    "pct_start": "use rise",
    "min_lr": "use minimum",
    "maxiter": "max_iter belongs to the estimator or to minimize",
    "max_iter": "max_iter belongs to the estimator or to minimize",
}

#: Optimizers by the names that other libraries give them.
_OPTIMIZERS: Mapping[str, str] = {
    "asgd": "optimizers.GradientDescent(average=True)",
    "batch": "'gd' with batch_size='full'",
    "bfgs": "'lbfgs'",
    "cholesky": "'normal_equations'",
    "fista": "'accelerated'",
    "heavy_ball": "'momentum'",
    "l-bfgs-b": "'lbfgs'",
    "liblinear": "'auto'",
    "nag": "'nesterov'",
    "newton": "'sketched_newton'",
    "newton-cg": "'sketched_newton'",
    "newton-cholesky": "'sketched_newton'",
    "sag": "'saga'",
    "svd": "'normal_equations'",
}

#: Losses by the names that other libraries give them.
_LOSSES: Mapping[str, str] = {
    "squared_error": "use 'squared'",
    "squared_loss": "use 'squared'",
    "mse": "use 'squared'",
    "least_squares": "use 'squared'",
    "l2": "use 'squared'",
    "log_loss": "use LogisticRegression",
    "log": "use LogisticRegression",
    "logistic": "use LogisticRegression",
    "softmax": "use LogisticRegression",
    "absolute_error": "use 'huber' with a small delta",
    "mae": "use 'huber' with a small delta",
    "l1": "use 'huber' with a small delta",
}


def did_you_mean(given: Any, names: Collection[str]) -> str:
    """Return ``"; did you mean 'adam'?"`` for a name that resembles one of `names`, else an empty string.

    Parameters
    ----------
    given : object
        What a user wrote; only text resembles a name.
    names : collection of str
        The names that exist.

    Returns
    -------
    str
    """
    if not isinstance(given, str):
        return ""
    plain = {name.lower().replace("_", ""): name for name in names}
    close = get_close_matches(given.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=0.7)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def unknown_parameter(kind: type, name: str, known: Collection[str], elsewhere: Mapping[str, str]) -> str:
    """Return the message for a parameter that a class does not have.

    Parameters
    ----------
    kind : type
        The class.
    name : str
        The parameter that was given.
    known : collection of str
        The parameters of the class.
    elsewhere : mapping of str to str
        Remedies by the names that other libraries use.

    Returns
    -------
    str
        With the remedy, the name that resembles this one, or all names.
    """
    message = f"{name} is not a parameter of {kind.__name__}"
    if name in elsewhere:
        return f"{message}: {elsewhere[name]}"
    return message + (did_you_mean(name, known) or f"; it has {', '.join(known) or 'none'}")


def unknown_optimizer(given: Any, names: Collection[str], sgd: str) -> str:
    """Return what to add to the message for an optimizer that does not exist.

    Parameters
    ----------
    given : object
        What a user gave.
    names : collection of str
        The names that exist.
    sgd : str
        How to ask for stochastic gradient descent.

    Returns
    -------
    str
        Empty where there is nothing to suggest.
    """
    if isinstance(given, type):
        return f": give an object, {given.__name__}()"
    name = given.lower() if isinstance(given, str) else ""
    if name == "sgd":
        return f": stochastic gradient descent is {sgd}"
    if name in _OPTIMIZERS:
        return f": use {_OPTIMIZERS[name]}"
    return did_you_mean(given, names)


def unknown_loss(given: Any, names: Collection[str]) -> str:
    """Return what to add to the message for a loss of linear regression that does not exist.

    Parameters
    ----------
    given : object
        What a user gave.
    names : collection of str
        The names that exist.

    Returns
    -------
    str
        Empty where there is nothing to suggest.
    """
    if isinstance(given, str) and given.lower() in _LOSSES:
        return f": {_LOSSES[given.lower()]}"
    return did_you_mean(given, names)


class Checked:
    """A class whose constructor explains keyword arguments that it does not have; signatures stay as they are."""

    #: Remedies by the names that other libraries use.
    _elsewhere: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Raise a TypeError with a remedy for the first unknown keyword argument."""
        constructor: Any = cls.__init__
        known = _parameters(constructor)
        unknown = next((name for name in kwargs if name not in known), None)
        if unknown is not None and "**" not in known:
            raise TypeError(unknown_parameter(cls, unknown, known, cls._elsewhere))
        return super().__new__(cls)


@cache
def _parameters(constructor: Any) -> tuple[str, ...]:
    """Return the names that a constructor takes, and "**" where it takes any."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return tuple("**" if each.kind is each.VAR_KEYWORD else each.name for each in parameters)
