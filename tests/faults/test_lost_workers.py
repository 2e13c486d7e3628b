"""Fits on a cluster of processes that lose a worker in the middle, or gain one, end with the bits of one machine."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster

from fastgd import LogisticRegression
from fastgd.exceptions import ClusterError

SEED, KILLS = 20261130, 20
N, D, BLOCK = 200_000, 20, 256 * 64

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed.*"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def _two_workers() -> Any:
    return LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)


@pytest.fixture
def cluster() -> Iterator[Any]:
    with _two_workers() as cluster, Client(cluster):
        yield cluster


def _rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)).astype(np.float32)
    return X, X @ np.arange(D) + 10 * rng.logistic(size=N) > 0


def _model() -> LogisticRegression:
    return LogisticRegression(optimizer="gd", batch_size="full", max_iter=60, tol=0.0, n_threads=1)


def _kill_one(cluster: Any, number: int) -> None:
    """Kill the process of a worker at once."""
    workers = list(cluster.workers.values())
    os.kill(workers[number % len(workers)].pid, signal.SIGKILL)


def _check_kills(kills: int) -> None:
    """Kill a worker in each of some fits, on a cluster of its own, since not every killed worker comes back."""
    X, y = _rows()
    expected = _model().fit(X, y)
    rows, rng = da.from_array(X, chunks=(BLOCK, D)), np.random.default_rng(SEED)
    for number in range(kills):
        with _two_workers() as cluster, Client(cluster):
            timer = threading.Timer(float(rng.uniform(0.1, 2.0)), _kill_one, (cluster, number))
            timer.start()
            found = _model().fit(rows, y)
            timer.join()
        # Sums that were lost or counted twice would change the bits.
        np.testing.assert_array_equal(found.coef_, expected.coef_, err_msg=f"kill {number}")
        np.testing.assert_array_equal(found.history_["loss"], expected.history_["loss"])


@pytest.mark.timeout(300)
def test_a_lost_worker_changes_no_bit() -> None:
    _check_kills(1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_lost_at_random_moments_change_no_bit() -> None:
    _check_kills(KILLS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_comes_in_the_middle_changes_no_bit(cluster: Any) -> None:
    X, y = _rows()
    expected = _model().fit(X, y)

    def grow(state: Any) -> None:
        if state.epoch == 5:
            cluster.scale(3)

    found = _model().fit(da.from_array(X, chunks=(BLOCK, D)), y, callbacks=grow)
    np.testing.assert_array_equal(found.coef_, expected.coef_)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_lost_scheduler_raises_and_leaves_a_checkpoint(cluster: Any, tmp_path: Any) -> None:
    X, y = _rows()
    expected = _model().fit(X, y)

    def close(state: Any) -> None:
        if state.epoch == 5:
            cluster.close()

    checkpoint: Any = {"checkpoint": tmp_path / "fit.ckpt", "checkpoint_every": 0}
    with pytest.raises(ClusterError, match="scheduler was lost"):
        _model().fit(da.from_array(X, chunks=(BLOCK, D)), y, callbacks=close, **checkpoint)
    options: Any = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as other, Client(other):
        found = _model().fit(da.from_array(X, chunks=(BLOCK, D)), y, **checkpoint)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
