"""Work on the partitions of a Dask cluster: a task per worker and call, which Dask repeats where a worker is lost."""

from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from distributed import Client, Future
from distributed.comm.core import CommClosedError

from fastgd.exceptions import ClusterError
from fastgd.objective.dataset import Transferred

#: Bytes of a small Python object on the wire, beside arrays.
_OVERHEAD = 1 << 10


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
        self._groups: list[list[int]] = []
        self._known: tuple[Any, ...] = ()

    def submit(self, function: Callable[..., Any], *args: Any, **options: Any) -> Future:
        """Start a task that is never looked up, and that Dask repeats if its worker is lost."""
        with self._explained():
            return self._client.submit(function, *args, pure=False, **options)

    def map_groups(self, function: Callable[..., Any], args: Sequence[Any], parts: Sequence[Future]) -> list[Any]:
        """Return function(*args, *parts) for the partitions of each worker, those of a worker in their order."""
        groups = self._group(parts)
        futures = [self.submit(function, *args, *(parts[k] for k in group)) for group in groups]
        found = self.gather(futures)
        self.count(sum(_size(args) for _ in groups), found)
        return found

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

    def _group(self, parts: Sequence[Future]) -> list[list[int]]:
        """Return the numbers of the partitions of each worker; looked up when the workers have changed."""
        with self._explained():
            workers = tuple(sorted(self._client.scheduler_info(n_workers=-1)["workers"]))
            known = (workers, tuple(part.key for part in parts))
            if known != self._known:
                self._client.gather(self._client.map(_done, parts, pure=False))
                holders = self._client.who_has(list(parts))
                by_worker: dict[str, list[int]] = {}
                for number, part in enumerate(parts):
                    found = holders.get(part.key) or ("",)
                    by_worker.setdefault(sorted(found)[0], []).append(number)
                self._groups, self._known = list(by_worker.values()), known
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


def _done(part: Any) -> None:
    """Do nothing, once a partition is there."""


def _size(values: Any) -> int:
    """Return about the bytes of arguments or results on the wire."""
    if hasattr(values, "nbytes"):
        return int(values.nbytes)
    if isinstance(values, list | tuple):
        return sum(map(_size, values))
    if hasattr(values, "indptr"):
        return int(values.data.nbytes + values.indices.nbytes + values.indptr.nbytes)
    return _OVERHEAD if hasattr(values, "__dict__") else 8
