"""Clusters of Dask for ``fastgd fit``: workers on this machine, or those of a scheduler that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scipy.sparse import issparse

from fastgd.cli.errors import InputError

#: Partitions per worker, and the rows that they begin at multiples of, so that results have the bits of one machine.
_PARTITIONS, _BLOCK_ROWS = 2, 256


@contextmanager
def connected(workers: int | None, scheduler: str | None) -> Iterator[bool]:
    """Start workers on this machine, or connect to a scheduler; whether there is a cluster.

    Raises
    ------
    InputError
        If Dask is missing, or the scheduler does not answer.
    """
    if workers is None and scheduler is None:
        yield False
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        option = "--workers" if scheduler is None else "--scheduler"
        raise InputError(f"{option} needs Dask: pip install '.[dask]' in the checkout") from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"--scheduler {scheduler} does not answer ({error}): start 'dask scheduler' there"
            ) from error
        with client:
            yield True
        return
    options: Any = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster):
        yield True


def spread(X: Any) -> Any:
    """Return rows of an array as a collection whose partitions go to the workers of the active client."""
    import dask.array as da
    from dask.delayed import delayed
    from distributed import default_client

    client = default_client()
    count = _PARTITIONS * max(1, len(client.nthreads()))
    n, d = X.shape
    rows = max(_BLOCK_ROWS, -(-n // count // _BLOCK_ROWS) * _BLOCK_ROWS)
    # Slices travel in the graph, so that Dask repeats partitions of workers that are lost.
    return (
        da.from_array(X, chunks=(rows, d))
        if not issparse(X)
        else da.concatenate(
            [
                da.from_delayed(delayed(X[start : start + rows]), shape=(min(rows, n - start), d), meta=X[:0])
                for start in range(0, n, rows)
            ]
        )
    )
