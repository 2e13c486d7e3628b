"""Checkpoint files: the layout of safetensors with JSON metadata and a checksum, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._version import __version__
from fastgd.exceptions import CheckpointError
from fastgd.files import whole_file

FORMAT = 1
Arrays = Mapping[str, NDArray[Any]]
#: Seconds between two checkpoints relative to those of writing one, unless each pass is to be written.
_COST = 50.0
_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}
_NAMES = {np.dtype(kind): name for name, kind in _DTYPES.items()}


class Content(NamedTuple):
    """What a checkpoint holds: facts, as JSON takes them, and arrays by name."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class CheckpointWriter:
    """Writes the checkpoints of a fit to one file.

    Parameters
    ----------
    path : Path
    every : float
        Seconds from one checkpoint to the next; 0 for one after every pass and epoch. Otherwise they are so far apart
        that writing takes 2 % of the time at most.
    clock : callable
        Replaced in tests.
    """

    def __init__(self, path: Path, every: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.path, self.every, self.clock = path, every, clock
        self._last, self._seconds = clock(), 0.0
        #: Whether a checkpoint could not be written, after which none is.
        self.has_failed = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        if self.has_failed:
            return False
        return self.every == 0.0 or self.clock() - self._last >= max(self.every, _COST * self._seconds)

    def write(self, content: Content) -> None:
        """Replace the file; raise a CheckpointError if that is impossible, which leaves the old file."""
        if self.has_failed:
            return
        began = self.clock()
        try:
            write(self.path, content)
        except OSError as error:
            self.has_failed = True
            raise CheckpointError(
                f"checkpoint {self.path} could not be written ({error.strerror or error}); the last one is unchanged: "
                "make room or choose another path, and fit again to continue from it"
            ) from error
        self._last = self.clock()
        self._seconds = self._last - began


def write(path: Path, content: Content) -> None:
    """Write a checkpoint to a temporary file, which is flushed and replaces `path`."""
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(content.arrays.items())}
    text = json.dumps({**content.facts, "format": FORMAT, "version": __version__}, sort_keys=True)
    layout: dict[str, Any] = {"__metadata__": {"fastgd_checkpoint": text, "sha256": _checksum(text, arrays)}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        layout[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    header = json.dumps(layout).encode()
    header += b" " * (-len(header) % 8)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(header)))
        file.write(header)
        for array in arrays.values():
            file.write(array.data if array.ndim and array.size else array.tobytes())


def _checksum(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data if array.ndim and array.size else array.tobytes())
    return digest.hexdigest()


def read(path: Path) -> Content:
    """Read and check a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint, damaged, or of another version.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        layout = json.loads(data[8 : 8 + length])
        metadata = layout.pop("__metadata__")
        text, recorded = metadata["fastgd_checkpoint"], metadata["sha256"]
        facts = json.loads(text)
        versions = facts["format"], facts["version"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        raise CheckpointError(
            f"{path} is not a checkpoint of fastgd's, or is truncated: remove it, or give another path"
        ) from None
    if versions != (FORMAT, __version__):
        raise CheckpointError(
            f"{path} was written by fastgd {versions[1]} (format {versions[0]}), and this is fastgd {__version__} "
            f"(format {FORMAT}), whose fits may differ: continue with that version, or remove the file and fit anew"
        )
    try:
        arrays = {name: _array(data, 8 + length, entry) for name, entry in layout.items()}
        intact = _checksum(text, arrays) == recorded
    except (ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        raise CheckpointError(
            f"{path} is truncated or damaged, its checksum does not match: remove it and fit anew, or restore a copy"
        )
    return Content(facts, arrays)


def _array(data: bytes, start: int, entry: dict[str, Any]) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    flat = np.frombuffer(data[start + begin : start + end], _DTYPES[entry["dtype"]])
    return flat.reshape(entry["shape"]).copy()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a checkpoint, which the system releases if the process dies.

    Raises
    ------
    CheckpointError
        If another fit holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"checkpoint {path} is in use by another fit: wait for its end, or give another path"
        ) from None
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be written ({error.strerror or error})") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # While it is held, so that no other fit can hold a file without a name.
            os.unlink(lock.lock_file)
        lock.release()
