"""Optimizers, schedules and what `partial_fit` goes on with, through files."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

import fastgd
from fastgd import LinearRegression, ModelFileError, model_file, optimizers
from fastgd.optimizers import BY_NAME, Adam, FullBatch, GradientDescent, Momentum
from fastgd.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from tests.estimators.fits import problem_for, targets, theta_of

SCHEDULES = [
    Constant(0.01),
    StepDecay(0.01, factor=0.25, every=1.5),
    ExponentialDecay(factor=0.9),
    InverseTimeDecay(0.01, decay=0.5, power=0.75),
    PolynomialDecay(0.01, final=1e-3, power=2.0, epochs=7),
    CosineDecay(0.01, restart_every=3, growth=2.0),
    OneCycle(peak="auto", epochs=9, rise=0.2),
    ReduceOnPlateau(0.01, patience=0, threshold=0.9, cooldown=1, minimum=1e-5),
    WarmUp(2, then=0.01),
    WarmUp(2.5, then=WarmUp(1, then=ReduceOnPlateau(np.float64(0.01), patience=np.int64(0)), start_factor=0.5)),
]


def fitted(optimizer, **parameters):
    problem = problem_for("squared", n=64)
    model = LinearRegression(
        optimizer=optimizer, max_iter=3, tol=0.0, alpha=0.1, random_state=0, **{"batch_size": 8, **parameters}
    )
    return model.fit(problem.x, targets(problem))


def through_a_file(model, tmp_path):
    model.save(tmp_path / "model")
    return fastgd.load(tmp_path / "model")


OTHERS = {
    "gd": {"average": 100},
    "momentum": {"momentum": 0.7, "form": "torch"},
    "nesterov": {"momentum": 0.7, "form": "lookahead"},
    "adagrad": {"eps": 1e-3},
    "rmsprop": {"decay": 0.8, "eps": 1e-3},
    "adam": {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3},
    "amsgrad": {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3},
    "nadam": {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "momentum_decay": 0.1},
    "adadelta": {"decay": 0.8, "eps": 1e-3},
    "adamw": {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    "saga": {},
    "accelerated": {},
    "sketched_newton": {"sample_rows": 32, "memory": 3},
    "normal_equations": {},
    "lbfgs": {"memory": 3},
}
#: Those that `partial_fit` goes on with nothing of.
FORGETFUL = ("saga", *(name for name, kind in BY_NAME.items() if issubclass(kind, FullBatch)))


@pytest.mark.parametrize("rule", BY_NAME)
def test_every_rule_with_its_hyper_parameters(tmp_path, rule):
    optimizer = BY_NAME[rule](**OTHERS[rule])
    whole = isinstance(optimizer, FullBatch)
    model = fitted(optimizer, batch_size="full" if whole else 8)
    back = through_a_file(model, tmp_path)
    assert type(back.optimizer) is type(optimizer)
    assert back.optimizer == optimizer
    assert len(OTHERS[rule]) == len(optimizer.get_params(deep=False)) - (not whole) - (rule == "gd")


@pytest.mark.parametrize("search", ["backtracking", "exact"])
def test_line_searches(tmp_path, search):
    optimizer = GradientDescent(0.3, line_search=search)
    assert through_a_file(fitted(optimizer, batch_size="full"), tmp_path).optimizer == optimizer


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_and_those_inside_them(tmp_path, schedule):
    back = through_a_file(fitted(Momentum(schedule)), tmp_path)
    assert back.optimizer.learning_rate == schedule
    assert repr(back.optimizer.learning_rate).replace("np.float64(0.01)", "0.01") == repr(schedule).replace(
        "np.float64(0.01)", "0.01"
    ).replace("np.int64(0)", "0")
    # Plain numbers, not NumPy's, are what a file has.
    assert all(type(value) is not np.float64 for value in back.get_params().values())


def rate(step, epoch, metric):
    return 0.01


@pytest.mark.parametrize("given", [rate, lambda *_: 0.01, WarmUp(1, then=rate)], ids=["named", "lambda", "nested"])
def test_functions_of_the_users_are_not_saved_but_named(tmp_path, given):
    model = fitted(Adam(given))
    with pytest.raises(TypeError, match=r"parameter (learning_rate|then)=<function .* cannot be saved: .*schedules"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    # With another rate it can be.
    model.set_params(optimizer__learning_rate=0.01)
    assert through_a_file(model, tmp_path).optimizer == Adam(0.01)


def test_an_optimizer_of_the_users_own_is_refused(tmp_path):
    class Mine:
        def __repr__(self):
            return "Mine()"

    model = fitted("adam")
    model.set_params(optimizer=Mine())
    with pytest.raises(TypeError, match=r"parameter optimizer=Mine\(\) cannot be saved"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize("rule", [rule for rule in BY_NAME if rule not in FORGETFUL])
def test_what_training_goes_on_with_is_the_same(tmp_path, rule):
    schedule = WarmUp(1, then=ReduceOnPlateau(0.01, patience=0, threshold=0.9))
    model = fitted(BY_NAME[rule](schedule, **OTHERS[rule]))
    back = through_a_file(model, tmp_path)
    mine, its = model._training, back._training
    assert its.facts() == json.loads(json.dumps(mine.facts()))
    arrays = its.arrays()
    assert set(arrays) == set(mine.arrays())
    for name, array in mine.arrays().items():
        assert arrays[name].tobytes() == array.tobytes(), name
        assert arrays[name].shape == array.shape
    assert mine.facts()["schedule_state"]["then.best"] > 0.0
    assert int(arrays["step"][0]) == 3 * 8


def without_training(path):
    """The file as it was written before models kept what `partial_fit` goes on with."""
    blob = path.read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    metadata = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["fastgd"])
    del metadata["training"]
    for name in ("early_stopping", "validation_fraction", "n_iter_no_change", "warm_start"):
        del metadata["params"][name]
    tensors = {key: value for key, value in safetensors.numpy.load(blob).items() if not key.startswith("training.")}
    text = json.dumps(metadata, sort_keys=True)
    path.write_bytes(safetensors.numpy.save(tensors, {"fastgd": text, "sha256": model_file.checksum(text, tensors)}))


def test_files_without_training_load(tmp_path):
    model = fitted(optimizers.Adam(0.01))
    path = tmp_path / "model"
    model.save(path)
    without_training(path)
    back = fastgd.load(path)
    assert theta_of(back).tobytes() == theta_of(model).tobytes()
    X = problem_for("squared", n=64).x
    assert np.array_equal(back.predict(X), model.predict(X))
    assert back.warm_start is False
    back.save(path)
    assert theta_of(fastgd.load(path)).tobytes() == theta_of(model).tobytes()


def test_a_stream_goes_on_from_coefficients_without_training(tmp_path):
    """On raw columns, at the loaded coefficients: the first step is rate times the gradient there."""
    problem = problem_for("squared", n=64)
    X, y = problem.x, targets(problem)
    model = fitted(GradientDescent(1e-3), batch_size="full")
    model.save(tmp_path / "model")
    without_training(tmp_path / "model")
    back = fastgd.load(tmp_path / "model").set_params(alpha=0.0)
    residual = model.predict(X) - y
    back.partial_fit(X, y)
    np.testing.assert_allclose(back.coef_, model.coef_ - 1e-3 * residual @ X / 64, rtol=1e-12)
    assert back.intercept_ == pytest.approx(model.intercept_ - 1e-3 * residual.mean(), rel=1e-12)
    with pytest.raises(ValueError, match="y 3 outputs, what was fitted before had 4 and 1"):
        fastgd.load(tmp_path / "model").partial_fit(X, X[:, :3])


def altered(path, change):
    """Change the facts and tensors of the training in a file, which gets a checksum that fits."""
    blob = path.read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    metadata = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["fastgd"])
    tensors = {name: tensor.copy() for name, tensor in safetensors.numpy.load(blob).items()}
    change(metadata["training"], tensors)
    text = json.dumps(metadata, sort_keys=True)
    path.write_bytes(safetensors.numpy.save(tensors, {"fastgd": text, "sha256": model_file.checksum(text, tensors)}))


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """A file of a stream whose schedule has a memory."""
    path = tmp_path_factory.mktemp("models") / "stream"
    problem = problem_for("squared", n=64)
    schedule = WarmUp(1, then=ReduceOnPlateau(0.01, patience=0, threshold=0.9))
    model = LinearRegression(optimizer=Adam(schedule), batch_size=8, random_state=0)
    model.partial_fit(problem.x, targets(problem)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("schedule_state", value) for value in (5, "x", [1.0], {"then.share": "x"}, {"then.share": -1.0})),
        *(("schedule_state", {"then.best": value}) for value in (None, 10**400, [])),
        *(("schedule_state", {"epochs": value}) for value in (True, float("nan"), float("inf"), 10**400)),
        *(("size", value) for value in ("x", {}, -1.0, float("inf"), True)),
        *(("rate", value) for value in (-1, 0.0, float("inf"), 10**400, "x")),
        *(("settings", {"loss": [], "delta": 1.0, "fit_intercept": True, "standardize": True}), ("settings", 5)),
    ],
)
def test_a_training_that_cannot_go_on_is_refused(tmp_path, stream, name, value):
    path = tmp_path / "altered"
    path.write_bytes(stream.read_bytes())
    altered(path, lambda facts, tensors: facts.update({name: value}))
    with pytest.raises(ModelFileError, match=r"altered is damaged or was altered \(.*save the model again"):
        fastgd.load(path)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("target_scale", 0, 0.0),
        ("target_scale", 0, -1.0),
        ("inv_scale", 1, -1.0),
        ("target_moments", 0, -1.0),
        ("target_moments", -1, -1.0),
        ("slots", -1, -1e-3),
        ("step", 0, -1.0),
        ("step", 0, 0.5),
        ("step", 0, 1e300),
        ("product", 0, 2.0),
        ("target_moments", None, np.ones((2, 1))),
        ("step", None, np.ones(1, np.int8)),
    ],
)
def test_arrays_of_a_training_that_cannot_go_on_are_refused(tmp_path, stream, name, place, value):
    path = tmp_path / "altered"
    path.write_bytes(stream.read_bytes())

    def change(facts, tensors):
        tensor = tensors[f"training.{name}"]
        if place is None:
            tensors[f"training.{name}"] = value
        else:
            tensor.flat[place] = value

    altered(path, change)
    problem = problem_for("squared", n=64)
    with pytest.raises(ModelFileError):
        fastgd.load(path).partial_fit(problem.x, targets(problem))


def test_the_file_that_is_altered_goes_on(tmp_path, stream):
    problem = problem_for("squared", n=64)
    assert np.isfinite(fastgd.load(stream).partial_fit(problem.x, targets(problem)).coef_).all()
