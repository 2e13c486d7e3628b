"""Names of other libraries and misspelt ones are explained, and signatures stay as they are."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastgd
from fastgd import LinearRegression, LogisticRegression, optimizers, schedules
from fastgd.cli.errors import InputError
from fastgd.cli.rules import read_optimizer
from fastgd.suggestions import ESTIMATORS, RULES

X, Y = np.arange(8.0)[:, None], np.arange(8) % 2

FOREIGN = {
    "C": r"C is not a parameter of LogisticRegression: use alpha = 1 / \(C \* n_samples\)",
    "penalty": "'l1' is l1_ratio=1.0",
    "solver": "use optimizer",
    "n_jobs": "use n_threads",
    "loss": "LogisticRegression minimises the log loss",
    "learning_rate": r"optimizer=optimizers.GradientDescent\(learning_rate",
    "eta0": r"optimizer=optimizers.GradientDescent\(learning_rate",
    "lr": r"optimizer=optimizers.GradientDescent\(learning_rate",
    "betas": r"optimizer=optimizers.Adam\(beta1=betas\[0\], beta2=betas\[1\]\)",
    "epsilon": "delta",
    "gamma": "kernel_approximation",
    "positive": "not constrained",
    "multi_class": "OneVsRestClassifier",
    "dual": "leave it out",
    "alhpa": "alhpa is not a parameter of LogisticRegression; did you mean 'alpha'?",
    "batchsize": "did you mean 'batch_size'?",
    "Alpha": "did you mean 'alpha'?",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_unknown_parameters_of_estimators_are_explained(name):
    with pytest.raises(TypeError, match=FOREIGN[name]):
        LogisticRegression(**{name: 1})
    with pytest.raises(ValueError, match=FOREIGN[name]):
        LogisticRegression().set_params(**{name: 1})


def test_grid_searches_explain_unknown_parameters():
    search = GridSearchCV(LogisticRegression(), {"C": [1.0, 10.0]}, cv=2)
    with pytest.raises(ValueError, match=r"use alpha = 1 / \(C \* n_samples\)"):
        search.fit(X, Y)
    search = GridSearchCV(LogisticRegression(optimizer="adam"), {"optimizer__learning_rate": [0.1]}, cv=2)
    with pytest.raises(ValueError, match=r"optimizer='adam' has no parameter.*fastgd.optimizers.Adam\(\)"):
        search.fit(X, Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.Adam(lr=0.1), "lr is not a parameter of Adam: use learning_rate"),
        (lambda: optimizers.Adam(betas=(0.9, 0.99)), r"use beta1=betas\[0\], beta2=betas\[1\]"),
        (lambda: optimizers.Momentum(momentun=0.5), "did you mean 'momentum'?"),
        (lambda: schedules.StepDecay(gamma=0.1), "use factor"),
        (lambda: schedules.CosineDecay(T_max=5), "use epochs"),
        (lambda: optimizers.LBFGS(colour=1), "colour is not a parameter of LBFGS; it has memory$"),
    ],
)
def test_unknown_parameters_of_rules_are_explained(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_remedies_are_not_given_for_parameters_that_exist():
    for kind, remedies in ((LinearRegression, ESTIMATORS), (LogisticRegression, ESTIMATORS)):
        kind(**kind().get_params(deep=False))
        assert kind._elsewhere is remedies
    for kind in optimizers.BY_NAME.values():
        assert kind(**kind().get_params(deep=False)) == kind()
        assert kind._elsewhere is RULES


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression, optimizers.Adam, schedules.StepDecay])
def test_signatures_copies_and_subclasses_stay_as_they_were(kind):
    names = list(inspect.signature(kind).parameters)
    assert names == list(inspect.signature(kind.__init__).parameters)[1:]
    assert "kwargs" not in names
    made = kind()
    for copied in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), clone(made)):
        assert copied.get_params() == made.get_params()

    class Own(kind):
        def __init__(self, C=1.0, **others):
            super().__init__(**others)
            object.__setattr__(self, "C", C)

    assert Own(C=2.0).C == 2.0


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("Adam", "; did you mean 'adam'"),
        ("nestrov", "; did you mean 'nesterov'"),
        ("SGD", ": stochastic gradient descent is 'gd'"),
        ("newton-cg", ": use 'sketched_newton'"),
        ("L-BFGS", "; did you mean 'lbfgs'"),
        (optimizers.Adam, r": give an object, Adam\(\)"),
        (3, "got 3$"),
    ],
)
def test_unknown_optimizers_are_explained_everywhere(given, hint):
    with pytest.raises(ValueError, match=hint):
        LinearRegression(optimizer=given).fit(X, Y)
    if given != "newton-cg":
        with pytest.raises(ValueError, match=hint):
            fastgd.minimize(lambda x: (x @ x, 2 * x), [1.0], optimizer=given)
    if isinstance(given, str):
        with pytest.raises(InputError, match=hint.replace("'gd'", "--optimizer gd --batch-size 1")):
            read_optimizer(given, "auto")


@pytest.mark.parametrize(
    ("loss", "hint"),
    [
        ("squared_error", ": use 'squared'"),
        ("log_loss", ": use LogisticRegression"),
        ("Huber", "; did you mean 'huber'"),
    ],
)
def test_losses_of_other_libraries_are_explained(loss, hint):
    with pytest.raises(ValueError, match=f"loss must be 'squared' or 'huber', got '{loss}'{hint}"):
        LinearRegression(loss).fit(X, Y)
