"""Checkpoints of a fit: the arguments of `fit`, and whether a checkpoint belongs to the fit that continues it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastgd._config import FitConfig
from fastgd._data import FitData
from fastgd.checkpoint import CheckpointWriter, Content, locked, read
from fastgd.exceptions import CheckpointError
from fastgd.losses import RegressionLoss
from fastgd.objective.record import Record
from fastgd.objective.recorded_data import recorded
from fastgd.optimizers import Optimizer, WithRate
from fastgd.parameters import is_number, shown
from fastgd.schedules import FromFunction, Schedule, is_auto

#: Seconds between checkpoints.
EVERY = 60.0
#: Parameters that change no result, or that the fingerprints of the data and the start include.
_FREE = (
    "batch_reason",
    "is_batch_size_auto",
    "n_threads",
    "verbose",
    "max_seconds",
    "warm_start",
    "random_state",
    "seed",
)


@dataclass
class Checkpoint:
    """A checkpoint to write, and the content of the one to continue from."""

    writer: CheckpointWriter
    source: Path
    content: Content | None
    _record: Record | None = None

    def with_seed(self, config: FitConfig) -> FitConfig:
        """Return the configuration with the recorded seed if it has none."""
        if self.content is None or config.random_state is not None:
            return config
        seed = self.content.facts["identity"]["data"]["random_state"]
        return config if seed == "none" else replace(config, seed=int(seed))

    def record(self, config: FitConfig, data: FitData) -> FitData:
        """Return the data with passes that are recorded; a CheckpointError if the content is of another fit."""
        if config.optimizer is not None and config.optimizer.keeps_rows() and data.rows.device != "cpu":
            raise ValueError("checkpoint needs device='cpu' with optimizer='saga', whose memory of rows is on the GPU")
        assert data.fingerprints is not None
        of_data = {**data.fingerprints(), "random_state": "none" if data.seed is None else str(data.seed)}
        identity = {"parameters": _parameters(config, data), "data": of_data}
        if self.content is None:
            record = Record(self.writer, identity)
            # At once, so that a path that cannot be written is found before the first pass.
            record.save()
        else:
            _compare(self.source, self.content.facts["identity"], identity)
            record = Record.of(self.writer, self.content)
            if self.source != self.writer.path:
                record.save(always=True)
        self._record = record
        return replace(data, rows=recorded(data.rows, record), record=record)

    def save(self) -> None:
        """Write all that is new."""
        if self._record is not None:
            self._record.save()


@contextlib.contextmanager
def opened(given: Any, every: Any, resume: Any) -> Iterator[Checkpoint | None]:
    """Check the arguments, lock the checkpoint and read the one to continue from; None without checkpoints."""
    seconds = _checked_every(every, has_use=given is not None or resume is not None)
    if given is None and resume is None:
        yield None
        return
    source = None if resume is None else _path("resume", resume)
    path = source if given is None else _path("checkpoint", given)
    assert path is not None
    if source is not None and not source.exists():
        raise FileNotFoundError(f"resume={str(resume)!r} does not exist: give the path of a checkpoint")
    if source is not None and source != path and path.exists():
        raise ValueError(
            f"checkpoint={str(given)!r} exists and resume is another file: remove one of them, or give another path"
        )
    with locked(path):
        begin = path if source is None else source
        content = read(begin) if source is not None or path.exists() else None
        checkpoint = Checkpoint(CheckpointWriter(path, seconds), begin, content)
        try:
            yield checkpoint
        except BaseException:
            checkpoint.save()
            raise


def _path(name: str, given: Any) -> Path:
    try:
        path = Path(os.path.realpath(os.fsdecode(given)))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be the path of a file, got {shown(given)}") from None
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{name}={str(given)!r} must be the path of a file in a folder that exists")
    return path


def _checked_every(every: Any, has_use: bool) -> float:
    if every is None:
        return EVERY
    if not (is_number(every) and 0.0 <= every < math.inf):
        raise ValueError(f"checkpoint_every must be a number of seconds, at least 0, got {shown(every)}")
    if not has_use:
        raise ValueError(f"checkpoint_every={shown(every)} has no effect without checkpoint: give checkpoint=PATH")
    return float(every)


def _parameters(config: FitConfig, data: FitData) -> dict[str, str]:
    """Return the parameters that decide on the result, as texts."""
    found = {one.name: _text(getattr(config, one.name)) for one in fields(config) if one.name not in _FREE}
    found["device"] = data.rows.device
    if not _rates_depend_on_length(config):
        del found["max_iter"]
    return found


def _rates_depend_on_length(config: FitConfig) -> bool:
    """Whether a fit of more epochs has other learning rates from the start."""
    optimizer = config.optimizer
    if not isinstance(optimizer, WithRate) or getattr(optimizer, "line_search", None) is not None:
        return False
    if optimizer.schedule.needs_length or not optimizer.schedule.automatic:
        return optimizer.schedule.needs_length
    # Steps of adaptive rules are longer in short fits; automatic rates of mini-batches fall to 0 at the end.
    return optimizer.adaptive is not None or (is_auto(optimizer.learning_rate) and config.batch_size is not None)


def _text(value: Any) -> str:
    """Return a parameter as a text that is the same in every process."""
    if isinstance(value, RegressionLoss):
        return value.name
    if isinstance(value, FromFunction):
        function = value.function
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
    if isinstance(value, Optimizer | Schedule):
        inner = ", ".join(f"{name}={_text(item)}" for name, item in value.get_params(deep=False).items())
        return f"{type(value).__name__}({inner})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{_text(key)}: {_text(item)}" for key, item in value.items())) + "}"
    if isinstance(value, np.ndarray | np.generic):
        return repr(value.tolist())
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return repr(value)


def _compare(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a CheckpointError that names the first differences of parameters and data."""
    for group, remedy in (("parameters", "the same parameters"), ("data", "the same data")):
        names = [name for name in now[group] | before[group] if before[group].get(name) != now[group].get(name)]
        if names:
            differences = "; ".join(
                f"{name}={before[group].get(name, 'none')} there, {now[group].get(name, 'none')} here" for name in names
            )
            raise CheckpointError(
                f"{path} is a checkpoint of another fit ({differences}): give {remedy}, or another path for this fit"
            )
