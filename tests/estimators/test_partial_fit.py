"""`partial_fit`: chunks of whole batches are the updates of one fit, or of the reference."""

import tracemalloc

import numpy as np
import pytest

import fastgd
from fastgd import LinearRegression, LogisticRegression, reference, schedules
from fastgd.backends.cpu.data import CpuData
from fastgd.optimizers import Adam, GradientDescent, Momentum
from tests.estimators.fits import features, model_for, problem_for, targets, theta_of
from tests.estimators.streams import BATCH, CHUNKS, STREAMED, N, assert_same_bits, by_pickle, classes_of, rule, stream
from tests.reference.problems import KINDS
from tests.solvers.steps import HYPER, RULES

#: Layouts whose epoch kernels other tests compile, too.
LAYOUTS = [
    ("logistic", 1, "f8", "C"),
    ("logistic", 1, "f4", "C"),
    ("softmax", 3, "f8", "F"),
    pytest.param("squared", 3, "f4", "F", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize(("loss", "outputs", "dtype", "order"), LAYOUTS)
def test_a_stream_is_a_fit_in_order(loss, outputs, dtype, order, name):
    problem = problem_for(loss, outputs, n=N, dtype=dtype, alpha=0.05, l1_ratio=0.5)
    X, y = features(problem, dtype, order), targets(problem)
    # Raw columns, one of them ten times as large as the others.
    rate = 0.01 if "eps" in HYPER[name] else 3e-4
    options = {"optimizer": rule(name, rate), "batch_size": BATCH, "shuffle": False, "standardize": False}
    whole = model_for(problem, max_iter=2, tol=0.0, **options).fit(X, y)
    model = stream(model_for(problem, **options), X, y, passes=2, **classes_of(problem))
    assert_same_bits(model, whole)
    assert np.abs(model.coef_).max() > 1e-3
    rows = np.array([part.stop - part.start for part in CHUNKS])
    losses = model.history_["loss"].reshape(2, -1) @ rows / N
    np.testing.assert_allclose(losses, whole.history_["loss"], rtol=1e-13)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_given_means_and_scales_are_the_references_coordinates(loss, outputs, intercept, alpha):
    problem = problem_for(loss, outputs, n=N, alpha=alpha, l1_ratio=0.3, fit_intercept=intercept)
    means = np.array([1.0, -2.0, 0.5, 3.0]) if intercept else np.zeros(4)
    scales = np.array([0.2, 1.0, 3.0, 9.0])
    model = model_for(problem, optimizer=rule("momentum", 0.005), batch_size=BATCH, shuffle=False)
    stream(model, problem.x, targets(problem), means=means, scales=scales, **classes_of(problem))
    # Where L2 is steeper than the loss it sets the scale, as in a fit.
    used = np.maximum(scales, np.sqrt(problem.l2.max()))
    center, scale = np.zeros(outputs), np.ones(outputs)
    if loss in ("squared", "huber"):
        # Of the first chunk: mean and deviation, or without intercept the root mean square; Huber's share one scale.
        first = problem.y[CHUNKS[0]]
        center = first.mean(axis=0) if intercept else center
        scale = np.sqrt(np.mean((first - center) ** 2, axis=0))
        scale = np.full(outputs, np.sqrt(np.mean(scale**2))) if loss == "huber" else scale
    scaling = reference.Scaling(means, used, center, scale)
    unweighted = type(problem)(**{**vars(problem), "weight": np.ones(N)})
    its = reference.working_problem(unweighted, scaling)
    plan = reference.Plan("momentum", 0.005, 1, BATCH, hyper=HYPER["momentum"], shuffle=False)
    run = reference.run(its, np.zeros(its.shape), plan)
    np.testing.assert_allclose(theta_of(model), reference.raw_theta(run.theta, scaling), rtol=1e-11, atol=1e-13)


def test_unscaled_unequal_columns_warn_once():
    X = np.random.default_rng(0).standard_normal((40, 3)) * [1.0, 0.005, 3.0]
    y, reported = X[:, 0], r"columns differ in size, from 0\.0\d+ to .* give means and scales in its first call"
    # One row shows no scales of columns.
    model = LinearRegression().partial_fit(X[:1], y[:1])
    with pytest.warns(UserWarning, match=reported) as caught:
        model.partial_fit(X[1:20], y[1:20])
    assert caught[0].filename == __file__
    assert model.fit_report_["warnings"] == [str(caught[0].message)]
    model.partial_fit(X[20:], y[20:])
    assert model.fit_report_["warnings"] == []

    rare = np.where(np.arange(40) == 7, 1.0, 0.0)[:, None] * [1.0, 0.0, 1.0]
    for quiet, columns, first in (
        (LinearRegression(), X, {"scales": X.std(axis=0)}),
        (LinearRegression(), X, {"scales": np.ones(3)}),
        (LinearRegression(standardize=False), X, {}),
        (LinearRegression(alpha=0.1).fit(X, y), X, {}),
        (LinearRegression(), X * [1.0, 10.0, 1.0], {}),
        (LinearRegression(), rare, {}),
    ):
        quiet.partial_fit(columns, y, **first)


@pytest.mark.parametrize("name", ["adam", "averaged", "lookahead"])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_stream_continues_a_fit(loss, outputs, name):
    """In the fit's coordinates, targets scaled as well, with the rule's memory and count of updates."""
    problem = problem_for(loss, outputs, n=N, alpha=0.05, l1_ratio=0.5)
    X, y, s = problem.x, targets(problem), problem.weight / problem.weight.mean()
    options = {"optimizer": rule(name), "batch_size": BATCH, "shuffle": False, "tol": 0.0}
    whole = model_for(problem, max_iter=2, **options).fit(X, y, s)
    model = model_for(problem, max_iter=1, **options).fit(X, y, s)
    for rows in CHUNKS:
        model.partial_fit(X[rows], y[rows], sample_weight=s[rows])
    # A fit divides by the mean weight, which is 1 but for its rounding.
    np.testing.assert_allclose(theta_of(model), theta_of(whole), rtol=1e-11, atol=1e-13)


def falling(step, epoch, metric):
    return 0.05 / (1.0 + step + epoch) if metric is None else min(0.05, 0.01 * metric)


SCHEDULES = {
    "number": 0.05,
    "automatic": schedules.InverseTimeDecay(),
    "step": schedules.StepDecay(0.05, every=1.5),
    "automatic step": schedules.StepDecay(every=2),
    "inverse": schedules.InverseTimeDecay(0.05),
    "cycle": schedules.OneCycle(0.05, epochs=9),
    "automatic cycle": schedules.OneCycle(epochs=9),
    "warm-up": schedules.WarmUp(2, then=schedules.ExponentialDecay(0.05)),
    "automatic warm-up": schedules.WarmUp(1.5),
    "plateau": schedules.ReduceOnPlateau(0.05, patience=0, threshold=0.9),
    "warm-up to a plateau": schedules.WarmUp(1, then=schedules.ReduceOnPlateau(0.05, patience=0, threshold=0.9)),
    "function": falling,
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_calls_are_the_epochs_after_those_of_the_fit(name):
    """All rows in every call are the epochs of a longer fit: order of rows, rates and updates."""
    problem = problem_for("squared", n=N)
    X, y = problem.x, targets(problem)
    options = {"optimizer": Momentum(SCHEDULES[name], 0.5), "batch_size": BATCH, "tol": 0.0, "random_state": 3}
    whole = LinearRegression(max_iter=4, **options).fit(X, y)
    model = LinearRegression(max_iter=2, **options).fit(X, y)
    model.partial_fit(X, y).partial_fit(X, y)
    assert_same_bits(model, whole)
    for key in ("loss", "learning_rate", "gradient_norm"):
        assert np.array_equal(model.history_[key], whole.history_[key])
    assert model.n_iter_ == 4


def test_calls_after_a_fit_with_an_automatic_rate_continue_its_first_rate_with_a_decay():
    """The rate of the fit follows its losses; a stream has no epoch to return to."""
    problem = problem_for("squared", n=N)
    X, y = problem.x, targets(problem)
    model = LinearRegression(optimizer="gd", batch_size=BATCH, max_iter=2, tol=0.0, random_state=3).fit(X, y)
    first = model.fit_report_["learning_rate"]
    model.partial_fit(X, y).partial_fit(X, y)
    # Two epochs of a fit are all its last ones, during which the rate falls to 0 along a straight line.
    shares = np.array([1.0, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(model.history_["learning_rate"], first * shares, rtol=1e-12)


@pytest.mark.parametrize("schedule", [schedules.StepDecay(1e-3, every=2), schedules.OneCycle(1e-3, epochs=6)], ids=repr)
def test_a_call_is_an_epoch_of_the_schedule(schedule):
    problem = problem_for("squared", n=N)
    model = LinearRegression(optimizer=GradientDescent(schedule), batch_size=BATCH)
    stream(model, problem.x, targets(problem), passes=2)
    assert model.history_["learning_rate"].tolist() == [schedule(0, call) for call in range(6)]
    assert model.n_iter_ == 6
    assert model.fit_report_["stopped_by"] == "partial_fit"


@pytest.mark.parametrize(("before", "after"), [("number", "plateau"), ("plateau", "warm-up"), ("number", "cycle")])
def test_a_changed_rate_keeps_the_memory_and_the_time(before, after):
    problem = problem_for("squared", n=N)
    X, y = problem.x / np.abs(problem.x).max(axis=0), targets(problem)
    model = LinearRegression(optimizer=Momentum(SCHEDULES[before]), batch_size=BATCH).partial_fit(X, y)
    model.set_params(optimizer__learning_rate=SCHEDULES[after]).partial_fit(X, y)
    expected = 0.05 if after == "plateau" else SCHEDULES[after](0, 1)
    assert model.history_["learning_rate"][-1] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("way", ["pickle", "file"])
@pytest.mark.parametrize("begun", ["by a fit", "by a stream"])
def test_pickling_or_saving_between_calls_changes_no_bit(tmp_path, way, begun, name):
    def by_file(model):
        model.save(tmp_path / "model")
        return fastgd.load(tmp_path / "model")

    problem = problem_for("squared", 3, n=N, alpha=0.05, l1_ratio=0.5)
    X, y = problem.x, targets(problem)
    schedule = schedules.WarmUp(2, then=schedules.ReduceOnPlateau(patience=0, threshold=0.999))
    optimizer = RULES[name](schedule, **HYPER[name])

    def run(between):
        model = model_for(problem, optimizer=optimizer, batch_size=BATCH, max_iter=2, tol=0.0, random_state=3)
        if begun == "by a fit":
            model = between(model.fit(X, y))
        return stream(model, X, y, passes=2, between=between)

    alone, carried = run(lambda model: model), run(by_pickle if way == "pickle" else by_file)
    assert_same_bits(carried, alone)
    for key in ("loss", "learning_rate"):
        assert np.array_equal(carried.history_[key], alone.history_[key])
    assert len(set(alone.history_["learning_rate"])) > 3


@pytest.mark.parametrize("parameters", [{}, {"optimizer": rule("adam"), "early_stopping": True}, {"optimizer": "saga"}])
def test_stream_without_rule_memory_begins_at_the_coefficients(parameters):
    """After the automatic solver, early stopping and SAGA: the first update is that of a rule without memory."""
    problem = problem_for("squared", n=N)
    X, y = problem.x, targets(problem)
    model = LinearRegression(tol=1e-2, random_state=0, **parameters).fit(X, y)
    start = theta_of(model)
    model.set_params(optimizer=GradientDescent(0.1), early_stopping=False, batch_size="full", standardize=True)
    model.partial_fit(X, y)
    kept = np.ones(N)
    if "early_stopping" in parameters:
        kept[fastgd.holdout.held_out_rows(N, 0.1, np.random.RandomState(0).randint(2**31 - 1))] = 0.0
    scaling = reference.fit_scaling(type(problem)(**{**vars(problem), "weight": kept}))
    its = reference.working_problem(type(problem)(**{**vars(problem), "weight": np.ones(N)}), scaling)
    theta = reference.working_theta(start, scaling)
    moved = theta - 0.1 * reference.smooth_gradient(its, theta)
    np.testing.assert_allclose(theta_of(model), reference.raw_theta(moved, scaling), rtol=1e-11)


@pytest.mark.parametrize("intercept", [True, False])
def test_weights_of_a_stream_are_absolute(intercept):
    """From 0 one step on all rows is -rate / n sum_i s_i (0 - y_i) x_i, in closed form."""
    problem = problem_for("squared", n=N)
    X, y, s = problem.x, targets(problem), 3.0 * problem.weight
    options = {"fit_intercept": intercept, "standardize": False}
    model = LinearRegression(optimizer=GradientDescent(0.01), batch_size="full", **options)
    model.partial_fit(X, y, sample_weight=s)
    np.testing.assert_allclose(model.coef_, 0.01 * (s * y) @ X / N, rtol=1e-12)
    assert model.intercept_ == pytest.approx(0.01 * s @ y / N if intercept else 0.0, rel=1e-12)


def test_weights_of_1_and_of_classes():
    problem = problem_for("logistic", n=N)
    X, y = problem.x, np.where(targets(problem) > 0, "yes", "no")
    options = {"optimizer": rule("adam"), "batch_size": BATCH}
    first = {"classes": ["no", "yes"]}
    alone = stream(LogisticRegression(random_state=0, **options), X, y, **first)
    ones = LogisticRegression(random_state=0, **options)
    weighted = LogisticRegression(random_state=0, class_weight={"yes": 3.0}, **options)
    by_hand = LogisticRegression(random_state=0, **options)
    for rows in CHUNKS:
        ones.partial_fit(X[rows], y[rows], sample_weight=np.ones(len(X[rows])), **first)
        weighted.partial_fit(X[rows], y[rows], **first)
        by_hand.partial_fit(X[rows], y[rows], sample_weight=np.where(y[rows] == "yes", 3.0, 1.0), **first)
    assert_same_bits(ones, alone)
    assert_same_bits(weighted, by_hand)
    assert not np.array_equal(weighted.coef_, alone.coef_)
    assert weighted.classes_.tolist() == ["no", "yes"]


def test_chunks_may_lack_classes_and_change_their_layout():
    problem = problem_for("logistic", n=N, dtype="f4")
    order = np.argsort(targets(problem))
    X, y = problem.x[order], targets(problem)[order]
    options = {"optimizer": rule("adam"), "batch_size": BATCH, "shuffle": False, "standardize": False}
    whole = LogisticRegression(max_iter=1, tol=0.0, **options).fit(X, y)
    model = LogisticRegression(**options)
    for rows, dtype in zip(CHUNKS, ("f8", "f4", "f8"), strict=True):
        model.partial_fit(np.asarray(X[rows], dtype), y[rows], classes=[1, -1])
    assert model.classes_.tolist() == [-1, 1]
    # One batch of the stream was computed in float32.
    np.testing.assert_allclose(theta_of(model), theta_of(whole), rtol=1e-5)
    assert not np.array_equal(theta_of(model), theta_of(whole))


def test_shapes_are_those_of_the_targets():
    problem = problem_for("squared", 3, n=N)
    model = LinearRegression().partial_fit(problem.x, problem.y)
    assert (model.coef_.shape, np.shape(model.intercept_)) == ((3, 4), (3,))
    model = LinearRegression().partial_fit(problem.x, problem.y[:, 0])
    assert (model.coef_.shape, type(model.intercept_)) == ((4,), float)
    assert model.fit_report_["solver"] == "AdaGrad, batches of 256, partial_fit"
    assert model.predict(problem.x).shape == (N,)


def test_chunk_is_used_in_place(monkeypatch):
    read = []
    make = CpuData.__init__

    def keep(self, X, y, s, n_threads):
        make(self, X, y, s, n_threads)
        read.append(self.data.X)

    X = np.random.default_rng(0).standard_normal((200_000, 20), dtype=np.float32)
    y = X[:, 0] > 0
    model = LogisticRegression(optimizer=Adam(0.01)).partial_fit(X[:1000], y[:1000], [False, True])
    monkeypatch.setattr(CpuData, "__init__", keep)
    tracemalloc.start()
    try:
        model.partial_fit(X, y)
        # Labels take a twentieth of X.
        assert tracemalloc.get_traced_memory()[1] < X.nbytes / 5
    finally:
        tracemalloc.stop()
    assert all(np.shares_memory(array, X) for array in read if array.size == X.size)
    assert model.fit_report_["bytes_converted"] == 0
    assert model.fit_report_["passes"] == 1.0
