"""Record the results of a fit's passes and epochs, so that a later fit repeats them without reading the data.

A fit is a function of data, parameters and seed, and only its passes take time. So a fit that continues another one
runs again from its start: passes are looked up by a hash of their arguments, epochs of mini-batches by their order, and
what is not recorded is computed as before. It ends with the bits of a fit that was never interrupted.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.checkpoint import CheckpointWriter, Content
from fastgd.exceptions import CheckpointError
from fastgd.fingerprint import fingerprint
from fastgd.objective.dataset import BatchSums
from fastgd.objective.rule_state import RuleState

#: Seconds between two copies of a rule within an epoch, relative to those of a copy.
_COPY_COST = 50.0
_STATE = ("theta", "slots", "step", "product")

Results = tuple[NDArray[Any], ...]


def key_of(*parts: Any) -> str:
    """Return a hash of arrays, strings, numbers, None and tuples of these."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        is_array = isinstance(part, np.ndarray)
        text = fingerprint(part) if is_array else key_of(*part) if isinstance(part, tuple) else repr(part)
        digest.update(f"{text};".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class DoneEpoch:
    """A finished epoch of mini-batches, of a rule that begins it at the parameters in `key`, with the rows it has read.

    theta and slot (K, d + 1), step: parameters, first slot and counter at the end; None if the epoch diverged.
    """

    key: str
    rows: int
    theta: Array | None = None
    slot: Array | None = None
    step: int = 0
    mean_losses: Array | None = None
    loss: float = 0.0
    gradient_norm: float = 0.0

    @classmethod
    def of(cls, key: str, rows: int, rule: RuleState, result: tuple[Array, float, float]) -> "DoneEpoch":
        """Return an epoch that ends with a rule; result: mean losses, their sum in the user's units, |gradient|."""
        kernel_rule = rule.recipe.rule
        # The mean of the iterates, or SAGA's mean gradient.
        has_slot = kernel_rule.averages or kernel_rule.keeps_rows
        slot = rule.memory.slots[0].copy() if has_slot else None
        return cls(key, rows, rule.theta.copy(), slot, int(rule.memory.step[0]), *result)

    def repeat(self, rule: RuleState) -> None:
        """Set what the fit asks of a rule between epochs; the rest of its memory follows with the last epoch."""
        assert self.theta is not None
        rule.theta[...] = self.theta
        rule.memory.step[0] = self.step
        if self.slot is not None:
            rule.memory.slots[0] = self.slot


class Position(NamedTuple):
    """A rule within an epoch.

    done: epochs before, and rows: those of the history. batches: of this epoch, with their sums. states: arrays of the
    rule and of its earlier states, by names.
    """

    key: str
    done: int
    rows: int
    batches: int
    sums: BatchSums
    states: dict[str, dict[str, NDArray[Any]]]

    def restore(self, states: Mapping[str, RuleState]) -> None:
        """Set the rule and its earlier states."""
        for name, arrays in self.states.items():
            for part, array in arrays.items():
                _part(states[name], part)[...] = array


def _part(rule: RuleState, name: str) -> NDArray[Any]:
    if name == "theta":
        return rule.theta
    found: NDArray[Any] = rule.state.table if name == "table" else getattr(rule.memory, name)
    return found


def _copied(states: Mapping[str, RuleState]) -> dict[str, dict[str, NDArray[Any]]]:
    """Return copies of the arrays of the rule, and the arrays of its earlier states, which do not change."""
    rule = states["rule"]
    names = (*_STATE, "table") if rule.recipe.rule.keeps_rows else _STATE
    earlier = {name: {part: _part(state, part) for part in _STATE} for name, state in states.items() if name != "rule"}
    return {"rule": {name: _part(rule, name).copy() for name in names}, **earlier}


@dataclass
class Record:
    """The results of passes and epochs, those of an earlier fit included, and when to write them.

    identity: what a fit that continues must share. history: the rows of the fit's history, shared with it.
    """

    writer: CheckpointWriter
    identity: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    #: Rows of passes and epochs of the earlier fit.
    resumed_rows: int = 0
    _passes: dict[str, Results] = field(default_factory=dict)
    #: Those of the earlier fit.
    _earlier_keys: frozenset[str] = frozenset()
    _done: list[DoneEpoch] = field(default_factory=list)
    #: The last copy of the rule, and that of the earlier fit until it is reached.
    _position: Position | None = None
    _earlier: Position | None = None
    _next: int = 0
    _has_news: bool = True
    _saved_rows: int = 0
    _copied_at: float = -np.inf
    _copy_seconds: float = 0.0

    def find(self, key: str) -> Results | None:
        """Return the results of a pass, new arrays; None if it has not been recorded."""
        found = self._passes.get(key)
        return None if found is None else tuple(_copy_of(array) for array in found)

    def is_earlier(self, key: str) -> bool:
        """Whether the earlier fit has made a pass."""
        return key in self._earlier_keys

    def keep(self, key: str, results: Results, save: bool = True) -> None:
        """Record the results of a pass, and with `save` write them if it is time."""
        assert all(array.dtype == np.float64 for array in results), key
        self._passes[key] = tuple(_copy_of(array) for array in results)
        self._has_news = True
        if save and self.writer.is_due:
            self.save()

    def number(self, key: str, compute: Callable[[], float]) -> float:
        """Return a recorded number, else compute and record it."""
        found = self.find(key)
        if found is None:
            found = (np.array([compute()]),)
            self.keep(key, found, save=False)
        return float(found[0][0])

    def next_epoch(self, key: str) -> DoneEpoch | Position | None:
        """Return the recorded epoch that begins now, if any; a CheckpointError if another one is recorded."""
        earlier: DoneEpoch | Position | None = self._earlier
        if self._next < len(self._done):
            earlier = self._done[self._next]
        else:
            self._earlier = None
        if earlier is None:
            return None
        if earlier.key != key:
            raise CheckpointError(
                f"epoch {self._next} of checkpoint {self.writer.path} began elsewhere than that of this fit, as on "
                "another processor or with another version of NumPy: continue there, or remove the file and fit anew"
            )
        self._next += isinstance(earlier, DoneEpoch)
        return earlier

    def end_slice(
        self, key: str, states: Mapping[str, RuleState], batches: int, sums: BatchSums, is_last: bool
    ) -> None:
        """Copy the rule after some batches at the end of an epoch, where it is time to write, and now and then."""
        clock = self.writer.clock
        due = not is_last and self.writer.every > 0.0 and self.writer.is_due
        if not (is_last or due or clock() - self._copied_at >= _COPY_COST * self._copy_seconds):
            return
        began = clock()
        copies = _copied(states)
        own = BatchSums(sums.seen.copy(), sums.gradient.copy())
        rows = len(self.history) + is_last
        self._position = Position(key, self._next, rows, batches, own, copies)
        self._has_news, self._copied_at = True, clock()
        self._copy_seconds = self._copied_at - began
        if due:
            self.save()

    def end_epoch(self, epoch: DoneEpoch) -> None:
        """Record a finished epoch."""
        self._done.append(epoch)
        self._next += 1

    def save_if_due(self) -> None:
        """Write after an epoch of mini-batches, if it is time."""
        if self._has_news and self.writer.is_due:
            self.save()

    def save(self, always: bool = False) -> None:
        """Write everything if anything is new, or with `always`."""
        if self._has_news or always or len(self.history) > self._saved_rows:
            self.writer.write(self._content())
            self._has_news, self._saved_rows = False, len(self.history)

    def _content(self) -> Content:
        position = self._position
        done = self._done[: position.done] if position is not None else []
        rows = self.history if position is None else self.history[: position.rows]
        names = list(rows[0]) if rows else []
        arrays: dict[str, NDArray[Any]] = {f"history.{name}": np.array([row[name] for row in rows]) for name in names}
        arrays["passes"] = _joined([array for results in self._passes.values() for array in results])
        arrays["epochs"] = _joined([array for epoch in done for array in (epoch.theta, epoch.slot, epoch.mean_losses)])
        facts: dict[str, Any] = {
            "identity": self.identity,
            "passes": [
                [key, [[array.shape, _steps(array)] for array in results]] for key, results in self._passes.items()
            ],
            "epochs": [_facts(epoch) for epoch in done],
            "history": names,
            "position": None,
        }
        if position is not None:
            facts["position"] = [*position[:4], {name: list(arrays) for name, arrays in position.states.items()}]
            arrays |= {f"sums.{name}": array for name, array in position.sums._asdict().items()}
            for name, state in position.states.items():
                arrays |= {f"{name}.{part}": array for part, array in state.items()}
        return Content(facts, arrays)

    @classmethod
    def of(cls, writer: CheckpointWriter, content: Content) -> "Record":
        """Return the record of an earlier fit."""
        facts, arrays = content
        record, passes = cls(writer, facts["identity"], _has_news=False), _Parts(arrays["passes"])
        record._passes = {
            key: tuple(_laid_out(passes.take(shape), steps) for shape, steps in layouts)
            for key, layouts in facts["passes"]
        }
        record._earlier_keys, epochs = frozenset(record._passes), _Parts(arrays["epochs"])
        for key, rows, step, loss, norm, *shapes in facts["epochs"]:
            theta, slot, losses = (None if shape is None else epochs.take(shape) for shape in shapes)
            record._done.append(DoneEpoch(key, rows, theta, slot, step, losses, loss, norm))
        columns = [arrays[f"history.{name}"] for name in facts["history"]]
        record.history += [
            dict(zip(facts["history"], map(float, row), strict=True)) for row in zip(*columns, strict=True)
        ]
        record._saved_rows = len(record.history)
        if facts["position"] is not None:
            key, before, rows, batches, names = facts["position"]
            states = {name: {part: arrays[f"{name}.{part}"] for part in parts} for name, parts in names.items()}
            sums = BatchSums(arrays["sums.seen"], arrays["sums.gradient"])
            record._earlier = record._position = Position(key, before, rows, batches, sums, states)
        return record


def _steps(array: NDArray[Any]) -> list[int]:
    """Return the steps of the axes in memory, in numbers: the rounding of BLAS depends on them."""
    return [stride // array.itemsize for stride in array.strides]


def _laid_out(array: Array, steps: list[int]) -> Array:
    """Return a copy of an array with steps in memory."""
    if min(steps, default=0) < 0 or not array.size:
        return array.copy()
    buffer = np.empty(1 + sum((length - 1) * step for length, step in zip(array.shape, steps, strict=True)))
    copy = np.lib.stride_tricks.as_strided(buffer, array.shape, [step * buffer.itemsize for step in steps])
    copy[...] = array
    return copy


def _copy_of(array: Array) -> Array:
    return _laid_out(array, _steps(array))


def _facts(epoch: DoneEpoch) -> list[Any]:
    shapes = [None if array is None else list(array.shape) for array in (epoch.theta, epoch.slot, epoch.mean_losses)]
    return [epoch.key, epoch.rows, epoch.step, epoch.loss, epoch.gradient_norm, *shapes]


def _joined(arrays: list[NDArray[Any] | None]) -> Array:
    parts = [array.ravel() for array in arrays if array is not None]
    return np.concatenate(parts, dtype=np.float64) if parts else np.zeros(0)


class _Parts:
    """Arrays that are taken one after the other from joined ones."""

    def __init__(self, numbers: Array) -> None:
        self._numbers, self._start = numbers, 0

    def take(self, shape: list[int]) -> Array:
        """Return the next array, of a shape."""
        size = int(np.prod(shape))
        self._start += size
        return self._numbers[self._start - size : self._start].reshape(shape)
