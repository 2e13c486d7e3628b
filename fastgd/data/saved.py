"""Folders of decoded rows that later fits read again: arrays as .npy, and a manifest with checksums."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from fastgd.exceptions import TableError
from fastgd.files import unfinished

#: Version of the format of a folder.
VERSION = 1
_MANIFEST = "manifest.json"
#: Bytes with a checksum of their own.
_PIECE_BYTES = 1 << 26


class SavedArrays(NamedTuple):
    """Arrays by name, as maps of their files, and facts as JSON takes them."""

    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]


class SavedRows:
    """Decoded rows of a source in a folder.

    Parameters
    ----------
    folder : Path
    key : mapping of str to object
        The source's fingerprint and the columns, as JSON takes them: what the rows depend on.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self._folder, self._key = folder, dict(key)

    def load(self, each: Callable[[int, Callable[[int], None]], None]) -> SavedArrays | None:
        """Return the arrays after a check of their checksums; None if there is no folder yet.

        Parameters
        ----------
        each : function
            Calls a function for every number below a count, perhaps on threads.

        Raises
        ------
        TableError
            The folder is of another version, of other rows or columns, or damaged.
        """
        manifest = self._read_manifest()
        if manifest is None:
            return None
        arrays = {name: self._map(name) for name in manifest["files"]}
        pieces = [
            (name, at, checksum)
            for name, found in manifest["files"].items()
            for at, checksum in enumerate(found["checksums"])
        ]

        def check(number: int) -> None:
            name, at, checksum = pieces[number]
            flat: Any = arrays[name].reshape(-1).view(np.uint8)
            if zlib.crc32(flat[at * _PIECE_BYTES : (at + 1) * _PIECE_BYTES]) != checksum:
                raise self._damaged(f"{name}.npy has other contents than when it was written")

        each(len(pieces), check)
        return SavedArrays(arrays, manifest["facts"])

    @contextmanager
    def create(self) -> Iterator[Path | None]:
        """Give an empty folder to write the arrays to, as NAME.npy; `finish` makes it the folder.

        It is removed unless it was finished. One process writes at a time; others wait, and get None if the folder is
        there by then.
        """
        with self._locked():
            if self._holds_files():
                yield None
                return
            temporary = self._folder.with_name(f"{self._folder.name}.unfinished")
            # Left by a process that was killed: nothing else writes there under the lock.
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            unfinished.add(str(temporary))
            try:
                yield temporary
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
                unfinished.discard(str(temporary))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(f"{self._folder}.lock")
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise TableError(
                f"cache={str(self._folder)!r} cannot be written ({error.strerror or error}): give a path in a folder "
                "that can be written"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def finish(self, temporary: Path, facts: Mapping[str, Any]) -> None:
        """Write the manifest with checksums of all arrays, and give the folder its name."""
        files = {path.stem: {"checksums": _checksums(path)} for path in sorted(temporary.glob("*.npy"))}
        manifest = {"version": VERSION, "key": self._key, "facts": dict(facts), "files": files}
        path = temporary / _MANIFEST
        path.write_text(json.dumps(manifest))
        for each in temporary.iterdir():
            with each.open("rb+") as file:
                os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            self._folder.rmdir()  # an empty one that was given
        os.replace(temporary, self._folder)

    def _holds_files(self) -> bool:
        """Whether the folder exists and is not empty; a TableError if it is not a folder."""
        try:
            return any(self._folder.iterdir())
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise TableError(f"cache={str(self._folder)!r} is not a folder: give the path of one") from None

    def _read_manifest(self) -> dict[str, Any] | None:
        path = self._folder / _MANIFEST
        if not self._holds_files():
            return None
        if not path.exists():
            raise TableError(
                f"cache={str(self._folder)!r} holds other files than decoded rows, or lacks {_MANIFEST}: "
                "give another path"
            )
        try:
            manifest: dict[str, Any] = json.loads(path.read_text())
            version, key = manifest["version"], manifest["key"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"{_MANIFEST} cannot be read: {error}") from error
        if version != VERSION:
            raise TableError(
                f"cache={str(self._folder)!r} is of version {version}, and this release writes version {VERSION}: "
                "delete the folder, or give another"
            )
        now = json.loads(json.dumps(self._key))
        for name, value in now.items():
            if key.get(name) != value:
                raise TableError(
                    f"cache={str(self._folder)!r} holds rows of {_difference(name, key.get(name), value)}; delete the "
                    "folder, or give another"
                )
        return manifest

    def _map(self, name: str) -> NDArray[Any]:
        path = self._folder / f"{name}.npy"
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)).view(np.ndarray)
        except (OSError, ValueError) as error:
            raise self._damaged(f"{path.name} cannot be read: {error}") from error

    def _damaged(self, why: str) -> TableError:
        return TableError(f"cache={str(self._folder)!r} is damaged: {why}; delete the folder")


def _checksums(path: Path) -> list[int]:
    """Return the CRC-32 of each piece of an array's data."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    flat = array.reshape(-1).view(np.uint8)
    return [zlib.crc32(flat[start : start + _PIECE_BYTES]) for start in range(0, flat.size, _PIECE_BYTES)]


def _difference(name: str, there: Any, here: Any) -> str:
    """Return a text for a difference of keys: the first of dictionaries, but not that of fingerprints."""
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"another {name}, or it has changed since"
    part = next(part for part in here if there.get(part) != here[part])
    return f"other {name} ({part}: {_short(there.get(part))} there, {_short(here[part])} here)"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
