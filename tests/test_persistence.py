"""Saved models come back to the last bit, with optimizers, schedules and training, and only as they were saved."""

import json
import os
import struct
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from sklearn.exceptions import NotFittedError

import fastgd
from fastgd import LinearRegression, LogisticRegression, ModelFileError, optimizers
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
from tests.model_files import altered

DAMAGED = r"altered is damaged or was altered \(.*save the model again"


def linear(**parameters):
    problem = problem_for("squared")
    return LinearRegression(**{"alpha": 0.1, **parameters}).fit(problem.x, problem.y[:, 0])


def several_targets():
    problem = problem_for("huber", 3)
    return LinearRegression("huber", delta=0.7, alpha=0.1).fit(problem.x, problem.y)


def classifier(labels, **parameters):
    problem = problem_for("softmax", len(labels))
    return LogisticRegression(**parameters).fit(problem.x, np.array(labels)[problem.y])


def named_columns():
    problem = problem_for("squared")
    frame = pd.DataFrame(problem.x, columns=["größe", "b c", "[d]", "e"])
    return LinearRegression(alpha=0.1).fit(frame, problem.y[:, 0])


MODELS = {
    "linear": linear,
    "lasso of numpy numbers": lambda: linear(alpha=np.float32(0.1), l1_ratio=np.float64(1.0)),
    "one target in a column": lambda: LinearRegression(alpha=0.1).fit(np.eye(4), np.arange(4.0)[:, None]),
    "several targets": several_targets,
    "rule": lambda: linear(optimizer=optimizers.Adam(0.01, beta1=0.5), max_iter=2, tol=0.0, random_state=3),
    "time": lambda: linear(optimizer=optimizers.LBFGS(3), max_seconds=1e9),
    "random state object": lambda: linear(optimizer="gd", max_iter=2, tol=0.0, random_state=np.random.RandomState(1)),
    "no intercept": lambda: linear(standardize=False, fit_intercept=False),
    "strings": lambda: classifier(["no", "yes, quite"], class_weight={"no": 2.0}),
    "three strings": lambda: classifier(["a", "b", "ç"]),
    "booleans": lambda: classifier([False, True], class_weight="balanced"),
    "integers": lambda: classifier([-3, 0, 7], class_weight={-3: 2.0}),
    "floats": lambda: classifier([1.0, 2.0]),
    "objects": lambda: classifier(np.array(["x", "y"], dtype=object)),
    "named columns": named_columns,
}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, tmp_path):
    model = MODELS[name]()
    path = tmp_path / "model.fastgd"
    model.save(path)
    back = fastgd.load(path)
    assert type(back) is type(model)
    for attribute in ("coef_", "intercept_", "n_iter_", "n_features_in_"):
        mine, its = getattr(model, attribute), getattr(back, attribute)
        assert type(mine) is type(its)
        assert np.array_equal(mine, its)
        assert np.shape(mine) == np.shape(its)
    for key, values in model.history_.items():
        assert np.array_equal(back.history_[key], values)
    assert back.fit_report_ == model.fit_report_
    for attribute in ("classes_", "feature_names_in_"):
        assert hasattr(model, attribute) == hasattr(back, attribute)
        if hasattr(model, attribute):
            assert np.array_equal(getattr(model, attribute), getattr(back, attribute))
            assert getattr(model, attribute).dtype == getattr(back, attribute).dtype
    expected = {key: value for key, value in model.get_params().items() if key != "random_state"}
    assert {key: value for key, value in back.get_params().items() if key != "random_state"} == expected
    X = np.random.default_rng(9).standard_normal((50, model.n_features_in_))
    X = pd.DataFrame(X, columns=model.feature_names_in_) if hasattr(model, "feature_names_in_") else X
    assert np.array_equal(back.predict(X), model.predict(X))
    if hasattr(model, "predict_proba"):
        assert np.array_equal(back.predict_proba(X), model.predict_proba(X))
    back.save(tmp_path / "again")
    # The order of the two entries of the header's metadata is safetensors' own.
    assert sorted((tmp_path / "again").read_bytes()) == sorted(path.read_bytes())


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    classifier(["a", "b", "c"], max_iter=1000).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_any_altered_byte_is_refused(blob, tmp_path, flip, every):
    path = tmp_path / "altered"
    for place in [*range(64), *range(64 + flip % every, len(blob), every)]:
        altered = bytearray(blob)
        altered[place] ^= flip
        path.write_bytes(altered)
        with pytest.raises(ModelFileError):
            fastgd.load(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(blob, tmp_path, share):
    (tmp_path / "cut").write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(ModelFileError, match="cut"):
        fastgd.load(tmp_path / "cut")


def foreign_files():
    other = safetensors.numpy.save({"coef": np.ones((1, 2))}, metadata={"made by": "others"})
    bare = safetensors.numpy.save({"coef": np.ones((1, 2))})
    header = json.dumps([1, 2]).encode()
    return {
        "text": b"coef: [1, 2]\n" * 20,
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07fastgd.\x94.",
        "safetensors of others": other,
        "safetensors without metadata": bare,
        "a list": struct.pack("<Q", len(header)) + header,
        "zeros": bytes(100),
        "huge length": b"\xff" * 100,
    }


@pytest.mark.parametrize("name", foreign_files())
def test_foreign_files_are_refused(tmp_path, name):
    (tmp_path / "foreign").write_bytes(foreign_files()[name])
    with pytest.raises(ModelFileError, match=r"foreign is not a model file of fastgd's: .*save"):
        fastgd.load(tmp_path / "foreign")


@pytest.mark.parametrize(
    ("change", "message"), [({"format": 3}, r"format 3.*update"), ({"kind": "GammaRegression"}, "GammaRegression")]
)
def test_files_of_a_newer_version_are_refused(blob, tmp_path, change, message):
    (tmp_path / "newer").write_bytes(altered(blob, lambda metadata, _: metadata.update(change)))
    with pytest.raises(ModelFileError, match=message):
        fastgd.load(tmp_path / "newer")


def test_a_missing_file_and_an_unfitted_model(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastgd.load(tmp_path / "nowhere")
    with pytest.raises(NotFittedError):
        LinearRegression().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model"
    linear().save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        linear(alpha=0.2).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]
    monkeypatch.undo()
    linear(alpha=0.2).save(str(path))
    assert path.read_bytes() != before
    assert fastgd.load(str(path)).alpha == 0.2


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_have_the_permissions_that_others_have(tmp_path):
    linear().save(tmp_path / "model")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_labels_that_cannot_be_saved(tmp_path):
    model = classifier(["a", "b"])
    model.classes_ = np.array([("a", 1), ("b", 2)], dtype=[("x", "U1"), ("y", int)])
    with pytest.raises(TypeError, match="classes_"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_loading_and_predicting_import_no_numba(python, tmp_path):
    classifier(["no", "yes"]).save(tmp_path / "model")
    code = """
        import sys, fastgd, numpy as np
        model = fastgd.load(sys.argv[1])
        print(model.predict(np.ones((3, 4)))[0], model.predict_proba(np.ones((3, 4), dtype="f4")).shape)
        model.save(sys.argv[1])
        assert not [name for name in sys.modules if name.split(".")[0] in ("numba", "llvmlite")]
        assert "fastgd.kernels" not in sys.modules
    """
    assert python("-c", textwrap.dedent(code), tmp_path / "model").split()[0] in ("no", "yes")


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array([1, 2, 3], np.uint64) << np.uint64(60), np.uint64),
        (np.array([1, 2, 3], np.float16), np.float16),
        (np.array([-1, 5, 2**70], object), object),
        (np.array([False, 2.5, "x"], object), object),
        (np.array(["a", "b", "c"], "U5000"), "U5000"),
        (np.array(["a", "b", "ccc"], "U30000000"), "U3"),  # room for very long strings is not kept
    ],
    ids=["uint64", "float16", "large integers", "mixed", "long strings", "very long strings"],
)
def test_labels_of_any_kind_come_back(tmp_path, labels, dtype):
    model = classifier(["a", "b", "c"])
    model.classes_ = labels
    model.save(tmp_path / "model")
    back = fastgd.load(tmp_path / "model")
    assert back.classes_.dtype == dtype
    assert back.classes_.tolist() == labels.tolist()


def test_long_double_labels_are_kept_as_float64(tmp_path):
    problem = problem_for("softmax", 3)
    model = LogisticRegression().fit(problem.x, np.array([1.0, 2.0, 5.0], np.longdouble)[problem.y])
    model.save(tmp_path / "model")
    assert fastgd.load(tmp_path / "model").classes_.tolist() == [1.0, 2.0, 5.0]


def test_a_history_of_a_million_epochs_comes_back(tmp_path):
    """As JSON it would exceed the header that safetensors allows."""
    model = linear()
    model.history_ = {name: np.linspace(0, 1, 1_000_000) for name in ("loss", "seconds")}
    model.save(tmp_path / "model")
    assert np.array_equal(fastgd.load(tmp_path / "model").history_["loss"], model.history_["loss"])


def test_history_in_the_metadata_is_read(blob, tmp_path):
    """As earlier versions wrote it."""

    def change(metadata, tensors):
        metadata["history"] = {"loss": [1.0, 0.5]}
        for name in [name for name in tensors if name.startswith("history.")]:
            del tensors[name]

    (tmp_path / "earlier").write_bytes(altered(blob, change))
    assert fastgd.load(tmp_path / "earlier").history_["loss"].tolist() == [1.0, 0.5]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_model_is_read_from_a_pipe(blob, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(blob,))
    writer.start()
    assert fastgd.load(tmp_path / "pipe").classes_.tolist() == ["a", "b", "c"]
    writer.join(10)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("labels_dtype",), "<U500000000"),
        (("labels",), ["a", "b", "b"]),
        (("labels",), ["a", "b"]),
        (("n_features_in",), 5),
        (("feature_names_in",), ["a"]),
        (("n_iter",), -1),
        (("history",), {"loss": [1.0], "seconds": []}),
        (("params", "n_threads"), 2**32 - 1),
        (("params", "optimizer"), {"optimizer": "unknown", "params": {}}),
        (("params", "unknown"), 1),
        (("fit_report",), None),
    ],
)
def test_metadata_that_do_not_agree_are_refused(blob, tmp_path, place, value):
    def change(metadata, _):
        holder = metadata["params"] if len(place) == 2 else metadata
        holder[place[-1]] = value
        if value is None:
            del holder[place[-1]]

    (tmp_path / "altered").write_bytes(altered(blob, change))
    with pytest.raises(ModelFileError, match=DAMAGED):
        fastgd.load(tmp_path / "altered")


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
#: Rules without state that `partial_fit` continues from.
STATELESS = ("saga", *(name for name, kind in BY_NAME.items() if issubclass(kind, FullBatch)))


@pytest.mark.parametrize("rule", BY_NAME)
def test_optimizers_round_trip(tmp_path, rule):
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
def test_nested_schedules_round_trip(tmp_path, schedule):
    back = through_a_file(fitted(Momentum(schedule)), tmp_path)
    assert back.optimizer.learning_rate == schedule
    assert repr(back.optimizer.learning_rate).replace("np.float64(0.01)", "0.01") == repr(schedule).replace(
        "np.float64(0.01)", "0.01"
    ).replace("np.int64(0)", "0")
    # A file has plain numbers, not NumPy's.
    assert all(type(value) is not np.float64 for value in back.get_params().values())


def rate(step, epoch, metric):
    return 0.01


@pytest.mark.parametrize("given", [rate, lambda *_: 0.01, WarmUp(1, then=rate)], ids=["named", "lambda", "nested"])
def test_user_functions_are_refused_by_name(tmp_path, given):
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


@pytest.mark.parametrize("rule", [rule for rule in BY_NAME if rule not in STATELESS])
def test_training_state_round_trip(tmp_path, rule):
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
    """Rewrite a file as it was before models kept the state that `partial_fit` continues from."""

    def change(metadata, tensors):
        del metadata["training"]
        for name in ("early_stopping", "validation_fraction", "n_iter_no_change", "warm_start"):
            del metadata["params"][name]
        for name in [name for name in tensors if name.startswith("training.")]:
            del tensors[name]

    path.write_bytes(altered(path.read_bytes(), change))


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


def test_stream_continues_from_coefficients_without_training(tmp_path):
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
    with pytest.raises(ValueError, match="y 3 outputs, the fitted model has 4 and 1"):
        fastgd.load(tmp_path / "model").partial_fit(X, X[:, :3])


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """A file of a stream with a stateful schedule."""
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
def test_invalid_training_facts_are_refused(tmp_path, stream, name, value):
    path = tmp_path / "altered"
    path.write_bytes(altered(stream.read_bytes(), lambda metadata, _: metadata["training"].update({name: value})))
    with pytest.raises(ModelFileError, match=DAMAGED):
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
def test_invalid_training_arrays_are_refused(tmp_path, stream, name, place, value):
    def change(_, tensors):
        tensor = tensors[f"training.{name}"]
        if place is None:
            tensors[f"training.{name}"] = value
        else:
            tensor.flat[place] = value

    (tmp_path / "altered").write_bytes(altered(stream.read_bytes(), change))
    problem = problem_for("squared", n=64)
    with pytest.raises(ModelFileError):
        fastgd.load(tmp_path / "altered").partial_fit(problem.x, targets(problem))


def test_unaltered_stream_continues(tmp_path, stream):
    problem = problem_for("squared", n=64)
    assert np.isfinite(fastgd.load(stream).partial_fit(problem.x, targets(problem)).coef_).all()
