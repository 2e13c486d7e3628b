"""scikit-learn's checks of estimators, over every optimizer, batch size and early stopping."""

import warnings

import pytest
from sklearn.utils.estimator_checks import check_estimator

from fastgd import LinearRegression, LogisticRegression
from fastgd.optimizers import BY_NAME, SAGA, FullBatch, NormalEquations

WEIGHTS = [f"check_sample_weight_equivalence_on_{form}_data" for form in ("dense", "sparse")]


def batch_sizes(name):
    if name == "auto" or issubclass(BY_NAME[name], FullBatch):
        return ["auto"]
    return ["auto", 1, 7] if BY_NAME[name] is SAGA else ["auto", 1, 7, "full"]


CASES = [
    (kind, name, size, early)
    for kind in (LinearRegression, LogisticRegression)
    for name in ("auto", *BY_NAME)
    for size in batch_sizes(name)
    for early in (False, True)
    if kind is LinearRegression or name != NormalEquations.rule
]


def expected_to_fail(name, size, early):
    """Return reasons by check; scikit-learn lists this check for its own SGDRegressor and SGDClassifier as well."""
    if early:
        return dict.fromkeys(WEIGHTS, "repeated rows are other rows to hold out")
    if size != "full" and name != "auto" and not issubclass(BY_NAME[name], FullBatch):
        return dict.fromkeys(WEIGHTS, "repeated rows fall into other batches")
    if size == "full" and BY_NAME[name] not in (BY_NAME["gd"], BY_NAME["momentum"], BY_NAME["nesterov"]):
        # The gradient of an intercept that starts at the mean is 0 but for rounding, and rules divide it by its size.
        return dict.fromkeys(WEIGHTS, "adaptive rules turn rounding of the intercept's gradient into steps")
    return {}


def failures(kind, name, size, early):
    model = kind(optimizer=name, batch_size=size, early_stopping=early, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence and of columns that depend on each other
        results = check_estimator(model, on_fail=None, on_skip=None)
    expected = expected_to_fail(name, size, early)
    return {
        result["check_name"]: str(result["exception"])
        for result in results
        if result["status"] == "failed" and result["check_name"] not in expected
    }


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "size", "early"), CASES)
def test_checks_fail_only_for_listed_reasons(kind, name, size, early):
    assert failures(kind, name, size, early) == {}
