"""Available memory, where the system reports it."""

import re
from operator import index
from pathlib import Path
from typing import SupportsIndex

#: Files with the system's memory, and with the limit and the use of the control group.
_SYSTEM, _LIMIT, _USED = "/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"


def available_bytes() -> int | None:
    """Return the bytes that system and control group can allocate without swapping; None if unknown."""
    found = [size for size in (_available_in_system(), _available_in_group()) if size is not None]
    return min(found, default=None)


def _available_in_system() -> int | None:
    for line in _text_of(_SYSTEM).splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _available_in_group() -> int | None:
    limit, used = _text_of(_LIMIT).strip(), _text_of(_USED).strip()
    return max(int(limit) - int(used), 0) if limit.isdigit() and used.isdigit() else None


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


#: Share of the available memory that a fit of rows larger than memory takes for them by default, and most bytes.
_SHARE, _MOST = 4, 1 << 29
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
#: Least limit: a few blocks of rows.
_LEAST = 64 << 20


def read_memory_limit(given: SupportsIndex | str | None) -> int:
    """Return a limit of memory in bytes, given as a number or as text such as "300MB"; by default a share of memory.

    Raises
    ------
    ValueError
        If it is neither, or less than 64 MiB.
    """
    if given is None:
        available = available_bytes()
        return _MOST if available is None else max(_LEAST, min(available // _SHARE, _MOST))
    found = _SIZE.fullmatch(given) if isinstance(given, str) else None
    if isinstance(given, str):
        unit = found[2].upper() if found else "?"
        size = float(found[1]) * _UNITS[unit] if found and unit in _UNITS else None
    else:
        size = index(given) if hasattr(given, "__index__") and not isinstance(given, bool) else None
    if size is None or size < _LEAST:
        raise ValueError(
            f"memory_limit must be a number of bytes of at least {_LEAST:,}, or text such as '300MB', got {given!r}"
        )
    return int(size)
