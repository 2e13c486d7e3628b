"""Generated calls of the public interface: ``python -m tests.faults.calls COUNT SEED [FIRST]`` prints findings as JSON.

A call may succeed, or raise a documented exception. It may not raise another one, hang, let a warning of NumPy's
escape, leave coefficients that are not finite, or change a fitted model by a failure. A case is made from the seed and
its number alone, so that ``COUNT`` 1 with ``FIRST`` repeats it.
"""

import faulthandler
import io
import json
import logging
import signal
import sys
import tempfile
import traceback
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse
from sklearn.base import clone

import fastgd
from fastgd import DivergenceError, LinearRegression, LogisticRegression, minimize, optimizers, schedules

#: Seconds of processor time for a case, and of any time for one that waits for ever. Most take a millisecond, the first
#: ones compile kernels.
SECONDS, WAITING = 60, 900
SIZES, WIDTHS = (1, 2, 3, 5, 20, 60), (1, 2, 3, 5, 20)
SCALES = (1.0, 1.0, 1.0, 1e-300, 1e-160, 1e-8, 1e6, 1e150, 1e200, 1e308)
BAD = (None, True, -1, 0, 1.5, 1e308, 5e-324, float("nan"), float("inf"), 10**400, "auto", "x", (), [], {}, "é", b"a")


def absent(*given, **named):
    """Stand for a method that these parameters hide."""
    raise TypeError


class Hang(BaseException):
    """A case took too long."""


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def make_X(rng):
    n, d = pick(rng, SIZES), pick(rng, WIDTHS)
    X = rng.standard_normal((n, d)) * pick(rng, SCALES)
    kind = int(rng.integers(24))
    if kind == 0:
        X[:, 0] = pick(rng, (0.0, 1.0, 1e308, -1e-308))
    elif kind == 1:
        X[:, -1] = X[:, 0]
    elif kind == 2:
        X.flat[int(rng.integers(X.size))] = pick(rng, (np.nan, np.inf, -np.inf, 1e308, -1e300))
    elif kind == 3:
        X = X * np.logspace(-12, 12, d)
    elif kind == 4:
        X = 1e8 + X
    elif kind == 5:
        X = (X > 0).astype(pick(rng, (bool, np.int8, np.uint64, np.float16)))
    return dressed(rng, X)


def dressed(rng, X):
    kind = int(rng.integers(20))
    with np.errstate(all="ignore"):
        ways = {
            0: lambda: X.astype(np.float32),
            1: lambda: np.asfortranarray(X),
            2: lambda: np.repeat(X, 2, axis=0)[::2],
            3: lambda: X.tolist(),
            4: lambda: pd.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])]),
            5: lambda: X.astype(object),
            6: lambda: pick(rng, (X[:, 0], X[None], X[:0], X.astype(str), X + 1j, None, 3.0, "X")),
            7: lambda: scipy.sparse.csr_matrix(np.asarray(X, np.float64)),
            8: lambda: np.array([[10**400]] * len(X), object),
            9: lambda: np.ma.masked_array(X, mask=np.isfinite(X) & (rng.random(X.shape) < 0.1)),
            10: lambda: with_categories(rng, X),
            11: lambda: with_categories(rng, X),
        }
        return ways.get(kind, lambda: X)()


def with_categories(rng, X):
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])])
    for name in frame.columns[: int(rng.integers(1, 4))]:
        codes = rng.integers(pick(rng, (1, 2, 5, 200)), size=len(X))
        values = pick(rng, (np.array(list("abcde"))[codes % 5], codes, codes > 0, codes * 0.5, codes.astype(str)))
        ways = (
            lambda values=values: values,
            lambda values=values: pd.Categorical(values),
            lambda values=values: pd.Series(values).astype(object),
            lambda values=values: pd.Series(values).astype(object).mask(rng.random(len(X)) < 0.1),
            lambda values=values: pd.Series(values).astype("string"),
            lambda: [pick(rng, ("a", 1, None, 2.5, (1,), True)) for _ in range(len(X))],
        )
        frame[name] = pick(rng, ways)()
    ways = (lambda: pl.from_pandas(frame), lambda: pl.from_pandas(frame).to_arrow(), lambda: frame, lambda: frame[:0])
    try:
        return pick(rng, ways)()
    except (TypeError, ValueError, pl.exceptions.PolarsError, pa.ArrowException):  # columns of several types
        return frame


def rows_of(X):
    shape = getattr(X, "shape", None)
    return shape[0] if shape else len(X) if isinstance(X, list) else 3


def make_y(rng, n, classes):
    if classes:
        labels = rng.integers(pick(rng, (1, 2, 3, 5)), size=n)
        ways = (
            lambda: labels,
            lambda: labels > 0,
            lambda: np.array(["a", "b", "c", "d", "e"])[labels],
            lambda: np.array(["a", 1, None, True, 2.5], object)[labels],
            lambda: labels * 1.0,
            lambda: labels + 0.5,
            lambda: labels.astype(np.longdouble),
            lambda: labels[:, None],
            lambda: labels.tolist(),
            lambda: np.where(labels, np.nan, 1.0),
            lambda: np.array([10**400, -1, 0, 1, 2], object)[labels],
            lambda: pd.Series(labels).astype("category"),
            lambda: pd.date_range("2026-01-01", periods=5)[labels],
        )
        return pick(rng, ways)() if rng.integers(2) else labels
    y = rng.standard_normal(n) * pick(rng, SCALES)
    ways = (
        lambda: y + 1e8,
        lambda: np.zeros(n),
        lambda: np.c_[y, -y, y],
        lambda: y[:, None],
        lambda: y.astype(np.float32),
        lambda: np.round(y).astype(object),
        lambda: np.where(y > 0, np.nan, y),
        lambda: np.where(y > 0, 1e308, -1e308),
        lambda: np.append(y, 1.0),
        lambda: y.astype(str),
        lambda: [10**400] * n,
        lambda: pick(rng, (None, "y", 1.0, y + 1j, y[None, :, None])),
    )
    with np.errstate(all="ignore"):
        return pick(rng, ways)() if rng.integers(2) else y


def known(y):
    try:
        return np.unique(y)
    except TypeError:
        return list(y)


def make_weights(rng, n):
    s = rng.random(n)
    ways = (
        lambda: s,
        lambda: np.zeros(n),
        lambda: np.full(n, 5e-324),
        lambda: np.full(n, 1e308),
        lambda: s - 0.5,
        lambda: np.where(s > 0.5, 0, 1),
        lambda: np.where(s > 0.5, np.nan, 1),
        lambda: s[:-1],
        lambda: pick(rng, ("balanced", 1.0, [10**400] * n, s[:, None], s.astype(str))),
    )
    return pick(rng, ways)() if rng.integers(4) == 0 else None


def make_schedule(rng, depth=0):
    ways = (
        lambda: 0.1,
        lambda: pick(rng, BAD),
        lambda: schedules.StepDecay(0.1, every=pick(rng, (1, 2.5, 0, "x", 10**400))),
        lambda: schedules.CosineDecay(0.1),
        lambda: schedules.OneCycle(peak=0.1, epochs=pick(rng, (1, 5, None))),
        lambda: schedules.ReduceOnPlateau(0.1, patience=0),
        lambda: schedules.WarmUp(1, then=make_schedule(rng, depth + 1) if depth < 3 else 0.1),
        lambda: lambda step, epoch, metric: pick(rng, (0.1, -1.0, np.nan, None)),
    )
    return pick(rng, ways)()


def make_optimizer(rng):
    name = pick(rng, sorted(optimizers.BY_NAME))
    if rng.integers(2):
        return name
    kind = optimizers.BY_NAME[name]
    names = list(kind().get_params(deep=False))
    if not names:
        return kind()
    chosen = pick(rng, names)
    if chosen == "learning_rate":
        return kind(make_schedule(rng))
    return kind(**{chosen: pick(rng, (*BAD, 0.5, 0.9, 3))})


PARAMETERS = {
    "alpha": (0.0, 1e-4, 0.1, 1e10, 1e-300),
    "l1_ratio": (0.0, 0.5, 1.0),
    "fit_intercept": (False,),
    "standardize": (False,),
    "batch_size": (1, 2, 7, 10**6, "full"),
    "shuffle": (False,),
    "drop_last": (True,),
    "max_iter": (0, 1, 2, 30),
    "max_seconds": (1e-6, 0.01, 1e9),
    "tol": (0.0, 1e-10, 1e-2, 1e300),
    "early_stopping": (True,),
    "validation_fraction": (0.3, 0.999, 1e-9),
    "n_iter_no_change": (1, 3),
    "warm_start": (True,),
    "random_state": (0, 2**32 - 1, np.random.RandomState(0)),
    "verbose": (0, 1),
    "n_threads": (1, 2, 3),
    "categorical": (None, ["c0"], ["c0", "c1"], []),
}


def make_model(rng):
    classes = bool(rng.integers(2))
    kind = LogisticRegression if classes else LinearRegression
    extra = (
        {"class_weight": ("balanced", {0: 2.0}, {7: 1.0})} if classes else {"loss": ("huber",), "delta": (1e-3, 10.0)}
    )
    pool = {**PARAMETERS, **extra}
    parameters = {"max_iter": pick(rng, (1, 3, 20, 50))}
    for _ in range(int(rng.integers(4))):
        name = pick(rng, sorted(pool))
        parameters[name] = pick(rng, pool[name]) if rng.integers(5) else pick(rng, BAD)
    if rng.integers(2):
        parameters["optimizer"] = make_optimizer(rng)
    return kind(**parameters), parameters, classes


class Case:
    """One case: what was done, and what of it is a finding."""

    def __init__(self, seed, number):
        self.rng = np.random.default_rng([seed, number])
        self.number, self.steps, self.findings = number, [], []

    def run(self):
        try:
            self._minimize() if self.rng.integers(6) == 0 else self._estimator()
        except Hang:
            self._found("a hang")

    def _found(self, what, error=None):
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "/fastgd/" in frame.filename]
        self.findings.append({"case": self.number, "what": what, "at": ours[-2:], "steps": self.steps[-5:]})

    def call(self, name, function, *args, **kwargs):
        """Whether a call succeeded, and what it returned."""
        self.steps.append(name)
        try:
            with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", RuntimeWarning)
                return True, function(*args, **kwargs)
        except (ValueError, TypeError, DivergenceError) as error:
            if isinstance(error, np.linalg.LinAlgError | UnicodeError):
                self._found(f"{name}: {type(error).__name__}: {str(error)[:200]}", error)
        except Exception as error:
            self._found(f"{name}: {type(error).__name__}: {str(error)[:200]}", error)
        return False, None

    def _estimator(self):
        rng = self.rng
        ok, made = self.call("make", make_model, rng)
        if not ok:
            return
        model, parameters, classes = made
        self.steps.append(repr(parameters)[:300])
        probe = before = None
        for _ in range(int(rng.integers(1, 4))):
            with np.errstate(all="ignore"):
                X = make_X(rng)
                y, s = make_y(rng, rows_of(X), classes), make_weights(rng, rows_of(X))
            kinds = [f"{getattr(given, 'shape', type(given))} {getattr(given, 'dtype', '')}" for given in (X, y, s)]
            self.steps.append(", ".join(kinds))
            name = pick(rng, ("fit", "fit", "partial_fit"))
            more = {"classes": known(y)} if name == "partial_fit" and classes else {}
            ok, _ = self.call(name, getattr(model, name, absent), X, y, s, **more)
            if ok:
                probe = np.random.default_rng(1).standard_normal((3, model.n_features_in_))
                if hasattr(model, "categories_"):
                    probe = pd.DataFrame(probe, columns=getattr(model, "feature_names_in_", None))
                before = self._check_fitted(model, probe)
                self._use(model, X, y, s)
            elif before is not None:
                after = self._predict(model, probe)
                if after is None or not np.array_equal(after, before):
                    self._found(f"a failed {name} changed the model")

    def _predict(self, model, probe):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.call("predict", model.predict, probe)[1]

    def _check_fitted(self, model, probe):
        if not (np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()):
            self._found("coefficients that are not finite")
        return self._predict(model, probe)

    def _use(self, model, X, y, s):
        kind = int(self.rng.integers(4))
        if kind == 0:
            self.call("score", model.score, X, y, s)
        elif kind == 1:
            with np.errstate(all="ignore"):
                other = make_X(self.rng)
            self.call("predict", model.predict, other)
        elif kind == 2:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                if self.call("save", model.save, path)[0]:
                    self.call("load", fastgd.load, path)
        else:
            self.call("clone", clone, model)

    def _minimize(self):
        rng = self.rng
        d = pick(rng, (1, 2, 5))
        functions = {
            "quadratic": lambda x: float(np.sum(x**2)),
            "steep": lambda x: float(np.sum(np.logspace(0, 8, d) * x**2)),
            "rosenbrock": lambda x: float(np.sum((1 - x) ** 2) + np.sum(100 * (np.roll(x, 1) - x**2) ** 2)),
            "flat": lambda x: 1.0,
            "nan": lambda x: float("nan"),
            "edge": lambda x: float(np.sum(np.sqrt(np.abs(x)))),
            "text": lambda x: "f",
            "vector": lambda x: x,
            "huge": lambda x: 1e300 * float(np.sum(x**2)),
        }
        name = pick(rng, sorted(functions))
        ok, rule = self.call("make", make_optimizer, rng)
        if not ok:
            return
        x0 = pick(rng, (np.ones(d), np.zeros(d), 1e-300 * np.ones(d), 1e200 * np.ones(d), [10**400], "x", None, np.nan))
        given = {"max_iter": pick(rng, (1, 5, 50)), "optimizer": rule, "tol": pick(rng, (1e-6, 0.0, -1, "x"))}
        if rng.integers(3) == 0:
            given["jac"] = pick(rng, (True, "2-point", lambda x: np.ones(d + 1), lambda x: 2 * x, 3))
        if rng.integers(3) == 0:
            given["n_starts"] = pick(rng, (3, 0, -1, 1.5))
        self.steps.append(f"{name} {x0!r} {given!r}"[:400])

        def quiet(x, *args):
            with np.errstate(all="ignore"):
                return functions[name](x)

        ok, result = self.call("minimize", minimize, quiet, x0, **given)
        if ok and result.success and not (np.isfinite(result.x).all() and np.isfinite(result.fun)):
            self._found("success at a point that is not finite")


def expire(number, frame):
    raise Hang


def main(count, seed, first=0):
    signal.signal(signal.SIGPROF, expire)
    # A record that is only printed is none.
    logging.getLogger("fastgd").addHandler(logging.NullHandler())
    found = 0
    for number in range(first, first + count):
        faulthandler.dump_traceback_later(WAITING, exit=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        case = Case(seed, number)
        case.run()
        signal.setitimer(signal.ITIMER_PROF, 0)
        for finding in case.findings:
            sys.stdout.write(json.dumps(finding, default=repr) + "\n")
            sys.stdout.flush()
            found += 1
    faulthandler.cancel_dump_traceback_later()
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
