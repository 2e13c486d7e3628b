"""What ``fastgd bench --rivals`` measures beside fastgd: scikit-learn, and PyTorch where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastgd.cli.bench_data import BenchData
from fastgd.cli.bench_jobs import ALPHA, EPOCH, FIT, FULL_PASS, RATE, Job, Line, measure, value
from fastgd.cli.bench_options import BenchOptions
from fastgd.cli.progress import Show

SKLEARN, TORCH = "scikit-learn", "PyTorch"
_MOST_ITERATIONS = 1000


def measure_rivals(
    data: BenchData, devices: list[str], options: BenchOptions, show: Show
) -> tuple[list[Line], dict[str, str]]:
    """Return what the others took, and why some are missing.

    Parameters
    ----------
    data : BenchData
    devices : list of str
        Where fastgd was measured.
    options : BenchOptions
    show : callable
        Shows what goes on.

    Returns
    -------
    tuple of list of Line and dict of str to str
    """
    lines, missing = [], {}
    if "cpu" in devices:
        show(f"measuring {SKLEARN}")
        lines += _sklearn_lines(data, options)
    for device in devices:
        show(f"measuring {TORCH} on {device}")
        try:
            lines += measure(device, _torch_jobs(data, device, options))
        except (ImportError, RuntimeError, AssertionError) as error:  # as PyTorch tells that it cannot use a GPU
            name = f"{TORCH} on {device}"
            missing[name] = "not installed" if isinstance(error, ImportError) else str(error).splitlines()[0]
    return lines, missing


def _sklearn_lines(data: BenchData, options: BenchOptions) -> list[Line]:
    """Its solver for such data to the same tolerance, which it takes for a bound on its own gradient."""
    from sklearn.linear_model import LogisticRegression, Ridge

    n = len(data.y)
    if data.task == "linear":
        model: Any = Ridge(alpha=ALPHA * n)
    else:
        model = LogisticRegression(C=1.0 / (ALPHA * n), tol=options.tol, max_iter=_MOST_ITERATIONS)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(data.X, data.y)

    (line,) = measure("cpu", [Job(f"{FIT} to {options.tol:g}", run, who=f"{SKLEARN} {type(model).__name__}")])
    line.facts["objective"] = value(data, model.coef_, model.intercept_)
    return [line]


def _torch_jobs(data: BenchData, device: str, options: BenchOptions) -> Iterator[Job]:
    """Autograd and PyTorch's own Adam, batches drawn without replacement and gathered."""
    import torch
    import torch.nn.functional as F

    X = torch.from_numpy(data.X).to(device)
    targets = data.y if data.loss == "softmax" else data.y.astype(data.X.dtype)
    y = torch.from_numpy(np.ascontiguousarray(targets)).to(device)
    model = torch.nn.Linear(X.shape[1], data.outputs, device=device, dtype=X.dtype)
    batch = min(options.batch_size, len(y))

    def loss(rows: Any, wanted: Any) -> Any:
        z = model(rows)
        if data.loss == "softmax":
            return F.cross_entropy(z, wanted)
        if data.loss == "logistic":
            return F.binary_cross_entropy_with_logits(z[:, 0], wanted)
        return 0.5 * F.mse_loss(z[:, 0], wanted)

    def full_pass() -> None:
        model.zero_grad()
        at = loss(X, y)
        at.backward()
        at.item()

    def epoch() -> None:
        with torch.no_grad():
            for part in model.parameters():
                part.zero_()
        adam = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=ALPHA)
        order = torch.randperm(len(y), device=device)
        at = torch.zeros(())
        for start in range(0, len(y), batch):
            rows = order[start : start + batch]
            adam.zero_grad()
            at = loss(X[rows], y[rows])
            at.backward()
            adam.step()
        at.item()  # on a GPU what comes before is only queued

    nbytes = data.X.nbytes
    yield Job(FULL_PASS, full_pass, nbytes, f"{TORCH} autograd")
    yield Job(f"{EPOCH}, Adam, batches of {batch:,}", epoch, nbytes, f"{TORCH} autograd")
