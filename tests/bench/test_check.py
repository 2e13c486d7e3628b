"""Nothing wrong is timed."""

import numpy as np
import pytest

from bench.candidates import Candidate, checked
from bench.check import Plan, Point, logistic_epoch, logistic_pass
from bench.problems import Problem
from bench.yardstick import reads

PROBLEM = Problem("logistic", 300, 6, "f8")


def test_a_wrong_result_is_an_error() -> None:
    expected = np.array([1.0, 2.0])
    right, wrong = Candidate("right", "", lambda: [1.0, 2.0]), Candidate("wrong", "", lambda: [1.0, 2.001])
    assert checked([right], lambda _: expected, "f8") == {"right ()": 0.0}
    for candidate in (wrong, Candidate("lost", "", lambda: [np.nan, 2.0]), Candidate("short", "", lambda: [1.0])):
        with pytest.raises(AssertionError, match=candidate.name):
            checked([candidate], lambda _: expected, "f8")


def test_the_expected_gradient_is_that_of_the_expected_loss() -> None:
    data = PROBLEM.make()
    point, step = Point.of(data), 1e-6
    gradient = logistic_pass(data, point)[1:]
    for j in range(6):
        unit = np.eye(6)[j] * step
        above, below = (logistic_pass(data, Point(point.coef + sign * unit, point.intercept))[0] for sign in (1, -1))
        assert (above - below) / (2 * step) == pytest.approx(gradient[j], abs=1e-8)


def test_the_expected_epoch_is_that_of_the_reference() -> None:
    from fastgd import reference

    data = PROBLEM.make()
    problem = reference.make_problem(data.X, data.signs(), "logistic", alpha=0.1)
    for rule in ("gd", "adam"):
        plan = reference.Plan(rule, 0.05, 1, 32, shuffle=False, drop_last=True)
        theta = reference.run(problem, np.zeros(problem.shape), plan).theta[0]
        got = logistic_epoch(data, Plan(32, rule, 0.05, alpha=0.1))
        np.testing.assert_allclose(got, theta, rtol=1e-12)
        backwards = logistic_epoch(data, Plan(32, rule, 0.05, alpha=0.1), np.arange(300)[::-1])
        assert np.abs(backwards - theta).max() > 1e-3


def test_every_way_of_the_yardstick_reads_all_of_an_array() -> None:
    X = PROBLEM.make().X
    for array in (X, np.asfortranarray(X), X[:7]):
        assert len(reads(array, [1, 2])) == 6  # checks what they read
    with pytest.raises(ValueError, match="contiguous"):
        reads(X[:, ::2])
