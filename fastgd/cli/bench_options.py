"""What the user asked of ``fastgd bench``, checked before anything is made or read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastgd.cli.errors import InputError

Dtype = Literal["float32", "float64"]
Task = Literal["linear", "logistic"]

DEVICES = ("cpu", "cuda")
AUTO = "auto"
#: Numbers of X at most: their bytes are counted by 63 bits.
_MOST_NUMBERS = 2**59


@dataclass(frozen=True)
class BenchOptions:
    """The options of ``fastgd bench``; what is None was not given."""

    source: Path | None
    target: str | None
    device: str
    rows: int | None
    cols: int | None
    dtype: Dtype | None
    task: Task | None
    classes: int | None
    tol: float
    batch_size: int
    seed: int
    rivals: bool
    out: Path

    def check(self) -> None:
        """Raise `InputError` for options that cannot be used together."""
        self.devices()
        made = {"--rows": self.rows, "--cols": self.cols, "--classes": self.classes}
        given = [option for option, value in made.items() if value is not None]
        if self.source is not None and given:
            raise InputError(f"{', '.join(given)}: a FILE has its own; leave them out, or leave the FILE out")
        if self.source is None and self.target is not None:
            raise InputError("--target needs a FILE: fastgd bench FILE --target COLUMN")
        if self.task == "linear" and self.classes is not None:
            raise InputError("--classes needs --task logistic: a linear regression has none")
        if not math.isfinite(self.tol):
            raise InputError(f"--tol {self.tol}: give a finite number, at least 0")
        if (self.rows or 1) * (self.cols or 1) > _MOST_NUMBERS:
            raise InputError(f"--rows {self.rows} --cols {self.cols}: no memory holds so many numbers: give fewer")
        self._check_out()

    def devices(self) -> list[str] | None:
        """Return the devices asked for, each once; None for all that can be used."""
        if self.device == AUTO:
            return None
        names = [name.strip() for name in self.device.split(",")]
        wrong = [name for name in names if name not in DEVICES]
        if wrong:
            raise InputError(f"--device {self.device}: {wrong[0]!r} is none of {', '.join(DEVICES)}, {AUTO}")
        return list(dict.fromkeys(names))

    def _check_out(self) -> None:
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out {self.out} is no folder: give the name of one")
        nearest = next(folder for folder in (self.out, *self.out.absolute().parents) if folder.exists())
        if not nearest.is_dir():
            raise InputError(f"--out {self.out}: {nearest} is no folder: give the name of one")
        if not os.access(nearest, os.W_OK):
            raise InputError(f"--out {self.out}: nothing can be written in the folder {nearest}: choose another")
