"""Work on the partitions of a Dask cluster: a task per worker and call, which Dask repeats where a worker is lost."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from distributed import Client, Future, wait
from distributed.comm.core import CommClosedError

from fastgd.exceptions import ClusterError
from fastgd.objective.dataset import Transferred

#: Bytes of a small Python object on the wire, beside arrays.
_OVERHEAD = 1 << 10


#: Stands for the worker of a partition that was lost and is computed again.
_NOWHERE = ""


class Cluster:
    """The workers of a client.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        #: Bytes of the arguments and results of tasks so far.
        self.transferred = Transferred()
        self._groups: dict[str, list[int]] = {}
        self._known: tuple[Any, ...] = ()

    def submit(self, function: Callable[..., Any], *args: Any, **options: Any) -> Future:
        """Start a task that is never looked up, and that Dask repeats if its worker is lost."""
        with self._explained():
            return self._client.submit(function, *args, pure=False, **options)

    def homes(self, chunks: Sequence[Any]) -> list[str | None]:
        """Return the worker of each partition that is there, None for others: tasks must not move them."""
        futures = [chunk for chunk in chunks if isinstance(chunk, Future)]
        with self._explained():
            found = self._client.who_has(futures) if futures else {}
        return [min(found.get(getattr(chunk, "key", None)) or (None,)) for chunk in chunks]

    def map_groups(self, function: Callable[..., Any], args: Sequence[Any], parts: Sequence[Future]) -> list[Any]:
        """Return function(*args, *parts) for the partitions of each worker, those of a worker in their order.

        Workers are called directly, in a fifth of the time of tasks; if one of them or a partition is lost, tasks do
        the work, which Dask repeats.
        """
        groups = self._group(parts)
        keys = {worker: [parts[k].key for k in its] for worker, its in groups.items()}
        found = None if _NOWHERE in groups else self._call(function, args, keys)
        if found is None:
            self._known = ()
            groups = self._group(parts)
            tasks = [self.submit(function, *args, *(parts[k] for k in its)) for its in groups.values()]
            found = self.gather(tasks)
        self.count(sum(_size(args) for _ in groups), found)
        return found

    def _call(self, function: Callable[..., Any], args: Sequence[Any], keys: dict[str, list[Any]]) -> list[Any] | None:
        """Return the results of a call of each worker; None if a worker or a partition is lost."""
        with self._explained():
            answers = self._client.run(_run_on_worker, function, args, keys, workers=list(keys), on_error="return")
        found = [answers.get(worker) for worker in keys]
        if any(answer is None or isinstance(answer, _LOST) for answer in found):
            return None
        error = next((answer for answer in found if isinstance(answer, BaseException)), None)
        if error is not None:
            raise error
        return [answer[0] for answer in found if answer is not None]

    def map_parts(self, function: Callable[..., Any], parts: Sequence[Future], *args: Any) -> list[Any]:
        """Return function(part, *args) for each partition."""
        found = self.gather([self.submit(function, part, *args) for part in parts])
        self.count(len(parts) * _size(args), found)
        return found

    def count(self, sent: int, found: Any) -> None:
        """Add the bytes of arguments and of results."""
        self.transferred.bytes += sent + _size(found)

    def gather(self, futures: Sequence[Future]) -> list[Any]:
        """Return results; an error on a worker is raised here."""
        with self._explained():
            found: list[Any] = self._client.gather(list(futures))
            return found

    def _group(self, parts: Sequence[Future]) -> dict[str, list[int]]:
        """Return the numbers of the partitions by worker; looked up for new partitions and when one was lost."""
        known = tuple(part.key for part in parts)
        if known != self._known:
            with self._explained():
                wait(list(parts))
                failed = next((part for part in parts if part.status == "error"), None)
                if failed is not None:
                    failed.result()
                self._client.run_on_scheduler(_free, [part.key for part in parts])
                holders = self._client.who_has(list(parts))
            groups: dict[str, list[int]] = {}
            for number, part in enumerate(parts):
                groups.setdefault(min(holders.get(part.key) or (_NOWHERE,)), []).append(number)
            self._groups, self._known = groups, known
        return self._groups

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (Exception, CancelledError) as error:
            if self._client.status == "running" and not isinstance(error, CommClosedError | CancelledError):
                raise
            raise ClusterError(
                f"the connection to Dask's scheduler was lost ({type(error).__name__}: {error}): start a cluster and "
                "fit again, with the same checkpoint if there was one"
            ) from error


def _free(keys: Sequence[Any], dask_scheduler: Any = None) -> None:
    """Let tasks and those they depend on run anywhere from now on: Dask forgets tasks for a worker that is lost."""
    tasks = [dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks]
    seen = set(tasks)
    while tasks:
        task = tasks.pop()
        if task.loose_restrictions:
            task.worker_restrictions = None
        more = task.dependencies - seen
        seen |= more
        tasks += more


#: Errors of calls of workers that are lost, or have lost a partition.
_LOST = (CommClosedError, KeyError, OSError)


async def _run_on_worker(
    function: Callable[..., Any], args: Sequence[Any], keys: dict[str, list[Any]], dask_worker: Any = None
) -> tuple[Any]:
    """Call a function of partitions on the worker that has them, on its thread for tasks."""
    parts = [dask_worker.data[key] for key in keys[dask_worker.address]]
    call = partial(function, *args, *parts)
    return (await asyncio.get_running_loop().run_in_executor(dask_worker.executors["default"], call),)


def _size(values: Any) -> int:
    """Return about the bytes of arguments or results on the wire."""
    if hasattr(values, "nbytes"):
        return int(values.nbytes)
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list | tuple):
        return sum(map(_size, values))
    if hasattr(values, "indptr"):
        return int(values.data.nbytes + values.indices.nbytes + values.indptr.nbytes)
    return _OVERHEAD if hasattr(values, "__dict__") else 8
