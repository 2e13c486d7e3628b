"""Memory that can be had, where the system reports it."""

from pathlib import Path

#: A file of the kernel's, and of the control group's: its limit and what it uses.
_SYSTEM, _LIMIT, _USED = "/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"


def available_bytes() -> int | None:
    """Bytes that can be allocated without swapping, by the system and by the control group; None where unknown."""
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
