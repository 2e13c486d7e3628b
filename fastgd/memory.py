"""Available memory, where the system reports it."""

from pathlib import Path

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
