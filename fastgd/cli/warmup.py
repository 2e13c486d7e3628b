"""``fastgd warmup``: compile and cache kernels, so that no later fit waits for them."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.options import DTYPES, LOSSES, ORDERS, STEPS, WarmupOptions
from fastgd.cli.output import plural, print_text
from fastgd.cli.progress import progress

if TYPE_CHECKING:
    from fastgd import LinearRegression, LogisticRegression

_ROWS = 40_000  # several blocks of rows, so that their sums have to be put together
_COLUMNS = {"cpu": 4, "cuda": 100}
_NUMBERS = 4_000_000  # of wide data, which then have fewer rows
#: A mean in standard deviations from which kernels subtract it as they read.
_FAR = 100.0

_STEPS = {"auto": "", "batches": "mini-batches", "full": "a rule on full batches"}


class Kind(NamedTuple):
    """A kind of fit, which has kernels of its own."""

    loss: str
    dtype: str
    order: str
    steps: str
    far: bool = False
    """Whether the columns are far from zero compared with their standard deviation."""
    l1: bool = False

    @property
    def label(self) -> str:
        """The kind in words."""
        parts = [self.loss, self.dtype, f"{self.order} order", _STEPS[self.steps]]
        parts += ["columns far from zero" if self.far else "", "elastic net" if self.l1 else ""]
        return ", ".join(filter(None, parts))


def warmup(options: WarmupOptions) -> None:
    """Fit a tiny problem per kind of fit that is asked for, and report the progress."""
    options.check()
    started = time.perf_counter()
    columns = options.cols or (_COLUMNS[options.device],)
    work = [(d, kind) for d in columns for kind in kinds(options)]
    with progress() as show:
        for number, (d, kind) in enumerate(work, 1):
            label = kind.label if len(columns) == 1 else f"{kind.label}, {plural(d, 'column')}"
            show(f"{number} of {len(work)}: {label}")
            seconds = time.perf_counter()
            model, X, y = _example(kind, d)
            model.set_params(device=options.device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a few epochs on noise need not converge
                model.fit(X, y)
            if not sys.stderr.isatty():
                line = f"{number} of {len(work)}: {label} ({time.perf_counter() - seconds:.1f} s)"
                with contextlib.suppress(OSError):  # its reader has left
                    print(line, file=sys.stderr, flush=True)
    print_text(f"{plural(len(work), 'kind')} of fit ready in {time.perf_counter() - started:.1f} s")
    if options.device == "cuda":
        _report_gpu_kernels()


def kinds(options: WarmupOptions) -> list[Kind]:
    """Return the kinds of fit to compile for.

    By default these are the automatic solvers of the squared, the logistic and the softmax loss for float64 in C order,
    as tables are read. All kinds add Huber's loss, float32, F order, mini-batches, rules on full batches, and float32
    columns far from zero, whose mean is subtracted as they are read.
    """
    every = options.everything
    chosen = itertools.product(
        options.loss or (LOSSES if every else ("squared", "logistic", "softmax")),
        options.dtype or (DTYPES if every else ("float64",)),
        options.order or (ORDERS if every else ("C",)),
        options.steps or (STEPS if every else ("auto",)),
    )
    found = []
    for loss, dtype, order, steps in chosen:
        found.append(Kind(loss, dtype, order, steps))
        if every and dtype == "float32":
            found.append(Kind(loss, dtype, order, steps, far=True))
    if any(kind.loss == "logistic" and kind.steps == "auto" for kind in found):
        # One kernel, the same for all losses and columns, finds steps with exact zeros.
        found.append(Kind("logistic", found[0].dtype, found[0].order, "auto", l1=True))
    return found


def _report_gpu_kernels() -> None:
    """Print which kernels of the GPU were compiled, and which were on disk already."""
    from fastgd.backends.select import gpu_kernels

    for how, names in gpu_kernels().items():
        counts = [f"{name} x {count}" if count > 1 else name for name, count in sorted(Counter(names).items())]
        if counts:
            print_text(f"{how}: {', '.join(counts)}")


class _Example(NamedTuple):
    model: LinearRegression | LogisticRegression
    X: NDArray[Any]
    y: NDArray[Any]


def _example(kind: Kind, d: int) -> _Example:
    """Return an estimator with data of `d` columns that need the kernels of a kind."""
    from fastgd import LinearRegression, LogisticRegression

    near = np.random.default_rng(0).normal(size=(max(1000, min(_ROWS, _NUMBERS // d)), d))
    arrange = np.asfortranarray if kind.order == "F" else np.ascontiguousarray
    X = arrange(near + (_FAR if kind.far else 0.0), kind.dtype)
    optimizer = "auto" if kind.steps == "auto" else "momentum"
    batch_size = 4096 if kind.steps == "batches" else kind.steps
    common: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch_size, "max_iter": 2, "random_state": 0}
    common |= {"alpha": 0.1, "l1_ratio": 0.5} if kind.l1 else {}
    if kind.loss in {"squared", "huber"}:
        return _Example(LinearRegression(**common | {"loss": kind.loss}), X, near.sum(axis=1))
    return _Example(LogisticRegression(**common), X, np.arange(len(X)) % (2 if kind.loss == "logistic" else 3))
