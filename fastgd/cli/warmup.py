"""``fastgd warmup``: compile and cache the usual kernels, so that no later fit waits for them."""

from __future__ import annotations

import itertools
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.cli.progress import progress

_ROWS = 40_000  # several blocks of rows, so that their sums have to be put together
_LOSSES = ("squared", "huber", "logistic", "softmax")
_COLUMNS = {"cpu": 4, "cuda": 100}
_NUMBERS = 4_000_000  # of wide data, which then have fewer rows


def warmup(device: str, columns: tuple[int, ...]) -> None:
    """Fit tiny problems, one for each usual kernel.

    These are: every loss; float32 with columns near and far from zero (of which the mean is taken off as they are read)
    and float64; rows that lie together in memory (C order) and columns that do (F order); what is chosen by itself,
    mini-batches, and an update rule on full batches.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    columns : tuple of int
        Numbers of columns, on which kernels for the GPU depend; where empty 100. Those for the CPU serve any number.
    """
    if device == "cpu" and columns:
        raise InputError("--cols: kernels of the CPU serve any number of columns; leave it out, or add --device cuda")
    started = time.perf_counter()
    count = 0
    with progress() as show:
        for label, model, X, y in _problems(device, columns or (_COLUMNS[device],)):
            show(label)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a few epochs on noise need not converge
                model.fit(X, y)
            count += 1
    print(f"{count} kinds of fit are ready ({time.perf_counter() - started:.1f} s)")
    if device == "cuda":
        _tell_kernels()


def _tell_kernels() -> None:
    """Print which kernels of the GPU were compiled, and which lay on disk already."""
    from fastgd.backends.devices import gpu_kernels

    for how, names in gpu_kernels().items():
        counts = [f"{name} x {count}" if count > 1 else name for name, count in sorted(Counter(names).items())]
        if counts:
            print(f"{how}: {', '.join(counts)}")


def _problems(device: str, columns: tuple[int, ...]) -> Iterator[tuple[str, Any, NDArray[Any], NDArray[Any]]]:
    for d in columns:
        for label, model, X, y in _problems_of(d):
            model.set_params(device=device)
            yield (label if len(columns) == 1 else f"{label} {d} columns"), model, X, y


def _problems_of(d: int) -> Iterator[tuple[str, Any, NDArray[Any], NDArray[Any]]]:
    near = np.random.default_rng(0).normal(size=(max(1000, min(_ROWS, _NUMBERS // d)), d))
    batches: tuple[tuple[str, int | str], ...] = (("auto", "auto"), ("momentum", 4096), ("momentum", "full"))
    columns = ((np.float32, 0.0), (np.float32, 100.0), (np.float64, 0.0))
    layouts: tuple[tuple[str, Any], ...] = (("C", np.ascontiguousarray), ("F", np.asfortranarray))
    kinds = itertools.product(_LOSSES, columns, layouts, batches)
    for loss, (dtype, mean), (order, laid_out), (optimizer, batch_size) in kinds:
        label = f"{loss} {np.dtype(dtype)} {order} {optimizer}{' far from zero' if mean else ''}"
        yield label, _model(loss, optimizer, batch_size), laid_out((near + mean).astype(dtype)), _target(loss, near)
    # Whatever the loss and the columns, one kernel finds steps with exact zeros.
    yield "elastic net", _model("logistic", "auto", "auto", alpha=0.1, l1_ratio=0.5), near, _target("logistic", near)


def _model(loss: Any, optimizer: str, batch_size: int | str, **penalty: float) -> Any:
    from fastgd import LinearRegression, LogisticRegression

    common: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch_size, "max_iter": 2, "random_state": 0}
    common |= penalty
    return LinearRegression(loss, **common) if loss in {"squared", "huber"} else LogisticRegression(**common)


def _target(loss: str, X: NDArray[Any]) -> NDArray[Any]:
    if loss in {"squared", "huber"}:
        return X.sum(axis=1)
    return np.arange(len(X)) % (2 if loss == "logistic" else 3)
