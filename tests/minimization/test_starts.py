"""Several starts, for functions with local minima and plateaus."""

import numpy as np
import pytest

from fastgd import minimize
from fastgd.optimizers import Adam, GradientDescent, Momentum
from tests.minimization.functions import counted, plateau, quadratic, rastrigin

FAR = np.array([3.2, -2.7])


@pytest.mark.parametrize(
    "optimizer",
    ["accelerated", "lbfgs", *(pytest.param(rule, marks=pytest.mark.slow) for rule in (Momentum(), Adam(0.05)))],
)
def test_starts_lead_out_of_a_local_minimum(optimizer):
    """Rastrigin's function has a hundred minima around here; one run takes the nearest or one on its way."""
    alone = minimize(rastrigin, FAR, optimizer=optimizer)
    assert alone.success
    assert alone.fun > 0.9
    best = minimize(rastrigin, FAR, optimizer=optimizer, n_starts=80, spread=4.0, random_state=0)
    assert best.success
    assert best.fun < 1e-9
    np.testing.assert_allclose(best.x, 0.0, atol=1e-6)


def test_starts_lead_off_a_plateau():
    """Where the function is flat in float64 the gradient is 0, and a run ends where it began: without success."""
    start = np.array([8.0, 8.0])
    alone = minimize(plateau, start)
    assert (alone.success, alone.status, alone.nit, alone.fun) == (False, 5, 0, 1.0)
    assert "the function is flat here, a plateau" in alone.message
    best = minimize(plateau, start, n_starts=60, spread=12.0, random_state=1)
    assert best.success
    np.testing.assert_allclose(best.x, 0.0, atol=1e-6)
    assert best.fun < 1e-12
    assert sum(result.fun == 1.0 for result in best.starts) > 30


def test_a_step_down_a_stair_is_found_by_differences():
    """Floors at the whole numbers, each flat but for rounding; only near its edge does a run feel the next one."""

    def stairs(x):
        return np.sum(np.abs(x)) if np.abs(x).max() < 0.5 else np.sum(np.floor(np.abs(x) + 0.5))

    best = minimize(stairs, [2.2, 1.7], optimizer=Adam(0.02), n_starts=50, random_state=0, max_iter=200)
    assert best.fun < 0.01
    assert np.abs(best.x).max() < 0.01


def test_the_best_of_all_runs_is_returned_with_all_calls():
    function, calls = counted(rastrigin)
    best = minimize(function, FAR, n_starts=5, spread=[0.5, 2.0], random_state=3)
    assert len(best.starts) == 5
    values = [result.fun for result in best.starts]
    winner = best.starts[int(np.argmin(values))]
    assert best.fun == min(values) < max(values)
    for name in ("x", "jac", "path", "path_fun", "learning_rates", "nit", "status", "success", "message"):
        np.testing.assert_array_equal(best[name], winner[name])
    assert best.nfev == best.njev == len(calls) == sum(result.nfev for result in best.starts)
    assert "starts" not in winner


def test_starts_are_the_point_itself_and_others_in_a_box():
    def starts_of(**options):
        result = minimize(quadratic([1.0, 1.0]), [5.0, 0.1], n_starts=400, max_iter=1, **options)
        return np.array([each.path[0] for each in result.starts])

    for spread, sides in ((None, [5.0, 1.0]), (2.0, [2.0, 2.0]), ([0.5, 3.0], [0.5, 3.0])):
        starts = starts_of(spread=spread, random_state=0)
        assert starts[0].tolist() == [5.0, 0.1]
        offsets = (starts[1:] - starts[0]) / sides
        assert np.abs(offsets).max() < 1
        # Uniform on [-1, 1]: mean 0 and variance 1/3, with standard errors 0.03 and 0.015.
        np.testing.assert_allclose(offsets.mean(axis=0), 0.0, atol=0.12)
        np.testing.assert_allclose(offsets.var(axis=0), 1 / 3, atol=0.06)
        assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.2
    np.testing.assert_array_equal(starts, starts_of(spread=[0.5, 3.0], random_state=0))
    np.testing.assert_array_equal(starts, starts_of(spread=[0.5, 3.0], random_state=np.random.default_rng(0)))
    assert not np.array_equal(starts, starts_of(spread=[0.5, 3.0], random_state=1))
    assert not np.array_equal(starts_of(), starts_of())


def test_the_first_of_several_starts_is_the_plain_run():
    several = minimize(rastrigin, FAR, n_starts=3, random_state=0)
    np.testing.assert_array_equal(several.starts[0].path, minimize(rastrigin, FAR).path)


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
def test_starts_outside_the_domain_are_reported_as_diverged(outside):
    def function(x):
        return (x[0] - np.log(x[0]), 1 - 1 / x) if x[0] > 0 else (outside, x)

    best = minimize(function, 2.0, optimizer=GradientDescent(0.05), n_starts=20, spread=5.0, random_state=0)
    lost = [result for result in best.starts if result.path[0, 0] <= 0]
    assert len(lost) > 2
    for result in lost:
        assert (result.success, result.status, result.nit) == (False, 3, 0)
        assert "not finite at the start" in result.message
    assert best.success
    np.testing.assert_allclose(best.x, 1.0, atol=1e-5)


def test_a_callback_ends_all_starts():
    seen = []

    def callback(x):
        seen.append(x)
        return len(seen) == 10

    best = minimize(rastrigin, FAR, optimizer=Adam(0.01), max_iter=7, n_starts=5, random_state=0, callback=callback)
    assert [result.nit for result in best.starts] == [7, 3]
    assert best.starts[-1].status == 99
    assert best.fun == min(result.fun for result in best.starts)
