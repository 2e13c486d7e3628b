"""The options of ``fastgd draw``, as typer reads them; imports no NumPy, as `fastgd.cli.options`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastgd.cli.errors import InputError
from fastgd.cli.options import PICTURES, _argument, _option, check_output

Kind = Literal[
    "paths",
    "rates",
    "gradients",
    "momentum",
    "nesterov",
    "starts",
    "batches",
    "history",
    "schedules",
    "finder",
    "coefficients",
    "penalties",
    "bench",
]
#: Kinds that can be animated, and those that take files.
ANIMATED = ("paths", "rates", "gradients", "batches")
WITH_FILES = ("history", "coefficients", "bench")
ANIMATIONS = (".gif", ".html")
#: Least and largest side of a picture in inches.
_LEAST, _MOST = 1.0, 100.0


@dataclass(frozen=True)
class DrawOptions:
    """Draw a picture: of optimizers and schedules at work on built-in examples, of saved models, or of benchmarks.

    paths, rates, gradients and batches: descent over level sets; .gif and .html animate it. momentum, nesterov: a step
    as vectors, two forms of one rule. starts: local minima, saddles and plateaus. history, coefficients: of saved
    models or an example. penalties: coefficients by penalty. finder: a learning-rate range test. bench: JSON of
    'fastgd bench'.

    Example: fastgd draw paths -o paths.png
    """

    kind: Kind = _argument("What to draw.", "KIND")
    output: Path | None = _option("Where to write: .png, .svg or .pdf.", "FILE", "-o", "--output", shown="KIND.png")
    source: list[Path] | None = _option(
        "A saved model, or JSON for bench; may be repeated.", "FILE", "--from", shown="a built-in example"
    )
    size: str = _option("Width and height in inches.", "WxH", default="", shown="7x5, wider for several panels")
    background: Literal["light", "dark"] = _option("For light or dark pages.", default="light")
    language: Literal["en", "ko"] = _option("Language of the texts.", default="en")

    @property
    def path(self) -> Path:
        """The file to write."""
        return self.output or Path(f"{self.kind}.png")

    @property
    def is_animated(self) -> bool:
        """Whether to write an animation."""
        return self.path.suffix.lower() in ANIMATIONS

    def inches(self, default: tuple[float, float]) -> tuple[float, float]:
        """Return width and height."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", self.size or f"{default[0]}x{default[1]}")
        if found is None or not all(_LEAST <= float(side) <= _MOST for side in found.groups()):
            raise InputError(f"--size {self.size}: give two numbers of inches from 1 to 100, such as 7x5")
        return float(found[1]), float(found[2])

    def check(self) -> None:
        """Raise `InputError` for options that cannot be used together."""
        endings = (*PICTURES, *ANIMATIONS) if self.kind in ANIMATED else PICTURES
        if self.path.suffix.lower() not in endings:
            raise InputError(f"-o {self.path}: the name of {self.kind} must end in one of {', '.join(endings)}")
        check_output(self.path, "-o")
        if self.source and self.kind not in WITH_FILES:
            raise InputError(f"--from: {self.kind} draws built-in examples; leave it out")
        self.inches((7.0, 5.0))
        from fastgd.plots import require_matplotlib

        try:
            require_matplotlib()
        except ImportError as error:
            raise InputError(f"draw: {error}") from error
