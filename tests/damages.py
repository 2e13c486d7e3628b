"""Ways in which a file of the kernel cache may be damaged."""

from pathlib import Path

from fastgd.kernels._entries import Entries


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def foreign(path: Path) -> None:
    """A pickle of another object."""
    path.write_bytes(b"\x80\x04N.")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_another_kernel(path: Path) -> None:
    """Complete machine code under the name of another entry."""
    entries = Entries(path.parent)
    entries.save("other", "another key", path.read_bytes()[32:])
    entries.path("other", "another key").replace(path)


DAMAGES = [torn, empty, garbage, foreign, flipped, of_another_kernel]
