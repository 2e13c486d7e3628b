"""Fits of rows that are read in every pass, against fits of the same rows in an array."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgd import LinearRegression, LogisticRegression
from fastgd._config import FitConfig
from fastgd._data import FitTimer, load
from fastgd._fit import run_fit
from fastgd._inputs import Matrix
from fastgd._streaming import FitResult
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.exceptions import TableError
from tests.backends.stream.source import Pieces

N, D = 30011, 7


def _rows(dtype: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(3)
    X = (rng.standard_normal((N, D)) * np.logspace(-1, 2, D) + 3.0).astype(dtype)
    z = ((X - 3.0) / np.logspace(-1, 2, D)) @ rng.standard_normal(D)
    return X, z + rng.logistic(size=N), rng.uniform(0.5, 2.0, N)


def _fit(model: Any, X: Any, y: NDArray[Any], s: NDArray[Any] | None = None) -> FitResult:
    config = FitConfig.of(model)
    with np.errstate(all="ignore"):
        return run_fit(config, load(config, Matrix(X), y, s), (), False, FitTimer())


def _stream(X: NDArray[Any], cuts: Sequence[int], size: int, *, with_parts: bool = True) -> StreamMatrix:
    source = Pieces(X, cuts, size, with_parts=with_parts)
    return StreamMatrix(source, source.names, len(X), X.dtype, 2, 1 << 26)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", ["auto", "sketched_newton", "lbfgs", "accelerated", "gd"])
@pytest.mark.parametrize("cuts", [(100, 10007, 20000), ()])
def test_logistic_fits_have_the_bits_of_an_array(cuts: tuple[int, ...], optimizer: str, weighted: bool) -> None:
    X, y, s = _rows("float32")
    options: Any = {"batch_size": "full", "max_iter": 20} if optimizer == "gd" else {}
    model = LogisticRegression(optimizer=optimizer, alpha=1e-3, n_threads=2, tol=1e-3, **options)
    weights = s if weighted else None
    of_array, of_stream = _fit(model, X, y > 0, weights), _fit(model, _stream(X, cuts, 999), y > 0, weights)
    np.testing.assert_array_equal(of_stream.coef, of_array.coef)
    np.testing.assert_array_equal(of_stream.intercept, of_array.intercept)
    assert of_stream.report["certificate"] == of_array.report["certificate"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["auto", "normal_equations", "sketched_newton"])
def test_linear_fits_have_the_bits_of_an_array(optimizer: str, dtype: str) -> None:
    X, y, s = _rows(dtype)
    model = LinearRegression(optimizer=optimizer, n_threads=2)
    of_array, of_stream = _fit(model, X, y, s), _fit(model, _stream(X, (5000, 21000), 1234), y, s)
    np.testing.assert_array_equal(of_stream.coef, of_array.coef)
    np.testing.assert_array_equal(of_stream.intercept, of_array.intercept)


def test_mini_batches_read_parts_in_a_new_order_each_epoch_and_repeat_by_their_seed() -> None:
    X, y, _ = _rows("float32")
    model = LogisticRegression(optimizer="adam", batch_size=64, max_iter=3, random_state=5, n_threads=2, tol=0.0)
    first, again = (_fit(model, _stream(X, (9000, 17000, 23000), 777), y > 0) for _ in range(2))
    np.testing.assert_array_equal(first.coef, again.coef)
    other = _fit(model.set_params(random_state=6), _stream(X, (9000, 17000, 23000), 777), y > 0)
    assert np.any(other.coef != first.coef)
    best = _fit(LogisticRegression(n_threads=2), X, y > 0)
    assert other.report["objective"] <= 1.05 * best.report["objective"]


def test_mini_batches_without_shuffling_are_those_of_an_array() -> None:
    X, y, s = _rows("float64")
    model = LogisticRegression(optimizer="momentum", batch_size=50, max_iter=2, shuffle=False, n_threads=2, tol=0.0)
    of_array, of_stream = _fit(model, X, y > 0, s), _fit(model, _stream(X, (9000,), 777), y > 0, s)
    # A window's mean weight is a quotient of other sums.
    np.testing.assert_allclose(of_stream.coef, of_array.coef, rtol=1e-9)


def test_early_stopping_holds_out_the_rows_that_it_holds_out_of_an_array() -> None:
    X, y, _ = _rows("float64")
    model = LogisticRegression(early_stopping=True, n_threads=2, random_state=0)
    of_array, of_stream = _fit(model, X, y > 0), _fit(model, _stream(X, (9000,), 777), y > 0)
    np.testing.assert_array_equal(of_stream.coef, of_array.coef)
    # Sums over held-out rows are divided into other blocks.
    np.testing.assert_allclose(of_stream.history["validation_loss"], of_array.history["validation_loss"], rtol=1e-12)


def test_a_source_without_parts_gives_the_bits_of_one_with_parts() -> None:
    X, y, s = _rows("float32")
    model = LogisticRegression(n_threads=2)
    with_parts = _fit(model, _stream(X, (9000,), 777), y > 0, s)
    without = _fit(model, _stream(X, (), 512, with_parts=False), y > 0, s)
    np.testing.assert_array_equal(with_parts.coef, without.coef)
    rule = LogisticRegression(optimizer="adam", max_iter=2, random_state=0, n_threads=2, tol=0.0)
    assert np.isfinite(_fit(rule, _stream(X, (), 512, with_parts=False), y > 0).coef).all()


def test_a_source_that_changes_its_length_raises() -> None:
    X, _, _ = _rows("float32")
    source = Pieces(X, (), 777, with_parts=False)
    for n, message in ((N + 1, "fewer than the 30,012"), (N - 1, "more than the 30,010")):
        stream = StreamMatrix(source, source.names, n, X.dtype, 2, 1 << 26)
        with pytest.raises(TableError, match=f"has {message} rows of its first pass"):
            for _ in stream.windows(256):
                pass
        with pytest.raises(TableError, match=f"has {message} rows of its first pass"):
            stream.take(np.arange(n))
        rule = LogisticRegression(optimizer="adam", batch_size=1000, max_iter=1, n_threads=2, tol=0.0)
        with pytest.raises(TableError, match=f"has {message} rows of its first pass"):
            _fit(rule, stream, np.arange(n) % 2 > 0)


def test_epochs_count_as_scans_of_the_source() -> None:
    X, y, _ = _rows("float32")
    model = LogisticRegression(optimizer="adam", batch_size=1000, max_iter=1, n_threads=2, tol=0.0)
    one, four = _stream(X, (9000,), 777), _stream(X, (9000,), 777)
    _fit(model, one, y > 0)
    _fit(model.set_params(max_iter=4), four, y > 0)
    assert round(four.scans - one.scans, 6) == 3.0


def test_numbers_that_are_not_finite_are_named_by_their_column() -> None:
    X, y, _ = _rows("float32")
    X[-1, 3] = np.nan
    with pytest.raises(ValueError, match=r"column 3.*NaN|NaN.*column 3"):
        _fit(LogisticRegression(n_threads=2), _stream(X, (9000,), 777), y > 0)


def test_saga_needs_rows_in_memory() -> None:
    X, y, _ = _rows("float32")
    with pytest.raises(ValueError, match="use cache='disk', or another optimizer"):
        _fit(LogisticRegression(optimizer="saga", n_threads=2), _stream(X, (9000,), 777), y > 0)
