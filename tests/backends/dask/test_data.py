"""Fits on a Dask cluster against fits of the same rows in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from dask.distributed import Client, LocalCluster

from fastgd import LinearRegression, LogisticRegression, _dask
from fastgd.exceptions import ClusterError

N, D = 20011, 6
#: Partitions that begin at blocks of rows, and others.
ALIGNED, OTHER = (5120, 5120, 256, N - 10496), (7001, 6000, N - 13001)

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed.*"),
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _rows(dtype: str = "f8") -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((N, D)) * np.logspace(-1, 1, D) + 2.0).astype(dtype)
    y = ((X - 2.0) / np.logspace(-1, 1, D)) @ np.arange(1.0, D + 1) + 3 * rng.logistic(size=N)
    return X, y, rng.uniform(0.5, 2.0, N)


MODELS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "lbfgs": LogisticRegression(optimizer="lbfgs", alpha=1e-3),
    "accelerated": LogisticRegression(optimizer="accelerated", alpha=1e-2, l1_ratio=0.5),
    "gd": LogisticRegression(optimizer="gd", batch_size="full", max_iter=10, tol=0.0),
    "huber": LinearRegression("huber"),
    "sketched": LinearRegression(optimizer="sketched_newton"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("weighted", [False, True])
def test_aligned_partitions_have_the_bits_of_an_array(client: Client, name: str, weighted: bool) -> None:
    X, y, s = _rows("f4")
    model = MODELS[name]
    y = y if isinstance(model, LinearRegression) else np.where(y > y.mean(), "b", "a")
    weights = s if weighted else None
    expected = type(model)(**model.get_params()).fit(X, y, weights)
    found = type(model)(**model.get_params()).fit(
        da.from_array(X, chunks=(ALIGNED, D)), da.from_array(y, chunks=5000), weights
    )
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    np.testing.assert_array_equal(found.intercept_, expected.intercept_)


@pytest.mark.parametrize("optimizer", ["auto", "normal_equations"])
def test_other_partitions_and_normal_equations_agree_to_rounding(client: Client, optimizer: str) -> None:
    X, y, s = _rows()
    expected = LinearRegression(optimizer=optimizer).fit(X, y, s)
    chunks = da.from_array(X, chunks=(OTHER, D))
    found = LinearRegression(optimizer=optimizer).fit(chunks, da.from_array(y, chunks=7000), s)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-9)


def test_softmax_with_classes_that_some_partitions_lack(client: Client) -> None:
    X, y, _ = _rows()
    classes = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    order = np.argsort(classes, kind="stable")
    expected = LogisticRegression(alpha=1e-3).fit(X[order], classes[order])
    found = LogisticRegression(alpha=1e-3).fit(da.from_array(X[order], chunks=(OTHER, D)), classes[order])
    np.testing.assert_array_equal(found.classes_, expected.classes_)
    # Two fits to a certificate of 1e-4.
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-3)


def test_empty_partitions_and_unknown_lengths(client: Client) -> None:
    X, y, _ = _rows()
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(y=y)
    parts = dd.from_pandas(frame, npartitions=4)
    parts = parts[parts["a"] > -1e9].partitions[:]
    some = dd.concat([parts, parts[parts["a"] > 1e9]])
    found = LinearRegression().fit(some, target="y")
    expected = LinearRegression().fit(frame[list("abcdef")], frame["y"])
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-9)
    assert found.feature_names_in_.tolist() == list("abcdef")


@pytest.mark.parametrize("width", [3, 40])
def test_categories(client: Client, width: int) -> None:
    X, y, s = _rows()
    levels = np.random.default_rng(1).integers(0, width, N)
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"]).assign(
        place=pd.Categorical([f"p{k:02d}" for k in levels]), y=y + levels % 5, s=s
    )
    found = LinearRegression().fit(dd.from_pandas(frame, npartitions=3), target="y", sample_weight="s")
    expected = LinearRegression().fit(frame[["a", "b", "place"]], frame["y"], frame["s"])
    assert found.coef_names_.tolist() == expected.coef_names_.tolist()
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-4)
    predicted = found.predict(dd.from_pandas(frame[["a", "b", "place"]], npartitions=2)).compute()
    np.testing.assert_allclose(predicted, found.predict(frame[["a", "b", "place"]]), rtol=1e-12)


def test_sparse_partitions(client: Client) -> None:
    X = scipy.sparse.random_array((5000, 60), density=0.05, rng=np.random.default_rng(0), format="csr")
    y = X @ np.arange(60.0) > 1.0
    parts = [client.submit(lambda block: block, X[start : start + 2000]) for start in range(0, 5000, 2000)]
    blocks = [
        da.from_delayed(part, shape=(part.result().shape[0], 60), meta=scipy.sparse.csr_array((0, 60)))
        for part in parts
    ]
    found = LogisticRegression().fit(da.concatenate(blocks), y)
    expected = LogisticRegression().fit(X, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-3)


def test_mini_batches_repeat_by_their_seed_and_reach_the_optimum(client: Client) -> None:
    X, y, s = _rows()
    rows = da.from_array(X, chunks=(OTHER, D))
    rule = LogisticRegression(optimizer="adam", batch_size=2048, max_iter=20, random_state=3, tol=0.0)
    first, again = (LogisticRegression(**rule.get_params()).fit(rows, y > 0, s) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, again.coef_)
    best = LogisticRegression().fit(X, y > 0, s)
    assert first.fit_report_["objective"] <= 1.05 * best.fit_report_["objective"]


def test_early_stopping_and_validation_rows(client: Client) -> None:
    X, y, _ = _rows()
    rows = da.from_array(X, chunks=(ALIGNED, D))
    model = LogisticRegression(early_stopping=True, random_state=0)
    found, expected = LogisticRegression(**model.get_params()).fit(rows, y > 0), model.fit(X, y > 0)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    with_rows = LogisticRegression().fit(rows, y > 0, X_val=X[:100], y_val=y[:100] > 0)
    assert np.isfinite(with_rows.history_["validation_loss"]).all()


def test_a_fit_continues_from_its_checkpoint(client: Client, tmp_path: Path) -> None:
    X, y, _ = _rows()
    rows = da.from_array(X, chunks=(ALIGNED, D))
    model = LogisticRegression(optimizer="lbfgs")
    whole = LogisticRegression(optimizer="lbfgs").fit(rows, y > 0)
    path = tmp_path / "fit.ckpt"
    model.fit(rows, y > 0, checkpoint=path, checkpoint_every=0, callbacks=lambda state: state.epoch == 3)
    model.fit(rows, y > 0, checkpoint=path)
    np.testing.assert_array_equal(model.coef_, whole.coef_)


def test_predictions_are_lazy(client: Client) -> None:
    X, y, _ = _rows()
    model = LogisticRegression().fit(X, y > 0)
    rows = da.from_array(X, chunks=(OTHER, D))
    for name in ("predict", "predict_proba", "decision_function"):
        lazy = getattr(model, name)(rows)
        assert isinstance(lazy, da.Array)
        np.testing.assert_array_equal(lazy.compute(), getattr(model, name)(X))
    assert model.score(rows, da.from_array(y > 0, chunks=9000)) == model.score(X, y > 0)


def test_parquet_is_read_by_the_workers(client: Client, tmp_path: Path, monkeypatch: Any) -> None:
    X, y, _ = _rows()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    for k, start in enumerate((0, 10240)):
        part = frame[start : start + 10240 if k == 0 else N]
        part.to_parquet(tmp_path / f"part-{k}.parquet", row_group_size=2560)
    expected = LogisticRegression(optimizer="lbfgs").fit(X, y > 0)
    for share in (0.4, 0.0):  # rows in the workers' memory, and read in every pass
        monkeypatch.setattr(_dask, "_MEMORY_SHARE", share)
        found = LogisticRegression(optimizer="lbfgs").fit(tmp_path, y > 0)
        assert "workers of a cluster" in found.fit_report_["device_reason"]
        assert found.fit_report_["cache"] == ("memory" if share else "none")
        np.testing.assert_array_equal(found.coef_[:, :D], expected.coef_)


def test_bytes_of_a_pass_are_those_of_few_vectors(client: Client) -> None:
    rng = np.random.default_rng(0)
    d, n = 400, 8192
    X = rng.standard_normal((n, d))
    rows = da.from_array(X, chunks=(4096, d))
    model = LogisticRegression(optimizer="gd", batch_size="full", max_iter=30, tol=0.0)
    report = model.fit(rows, X[:, 0] > 0).fit_report_
    per_pass = report["bytes_transferred"] / report["passes"]
    # Coefficients to each of two workers and sums back, beside a sample for means and curvatures.
    assert 2 * 2 * d * 8 < per_pass < 2 * 3 * d * 8 + 2 * n * d * 8 / 30


def test_numbers_that_are_not_finite_are_named_by_partition_and_column(client: Client) -> None:
    X, y, _ = _rows()
    X[N - 1, 3] = np.nan
    with pytest.raises(ValueError, match=r"partition 2 of X.*NaN.*column 3"):
        LinearRegression().fit(da.from_array(X, chunks=(OTHER, D)), y)


def test_wrong_arguments_name_the_remedy(client: Client) -> None:
    X, y, _ = _rows()
    rows = da.from_array(X, chunks=(OTHER, D))
    with pytest.raises(ValueError, match="give either y or target"):
        LinearRegression().fit(rows)
    with pytest.raises(ValueError, match="target names 'z', which is not a column"):
        LinearRegression().fit(rows, target="z")
    with pytest.raises(ValueError, match=r"saga.*choose another optimizer"):
        LogisticRegression(optimizer="saga").fit(rows, y > 0)
    with pytest.raises(ValueError, match="memory_limit"):
        LinearRegression().fit(rows, y, memory_limit="300MB")


def test_without_a_client_the_error_says_how_to_start_one(monkeypatch: Any) -> None:
    monkeypatch.setattr(_dask, "active_client", lambda: None)
    with pytest.raises(ClusterError, match="client = Client"):
        LinearRegression().fit(da.zeros((3, 2)), [1.0, 2.0, 3.0])
