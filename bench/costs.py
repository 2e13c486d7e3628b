"""Measure the constants of `fastgd.solvers.cost_model` on this machine: python -m bench.costs [--write] [--quick].

Prints the errors of the formulas and the block of constants; --write puts it into fastgd/solvers/cost_model.py.
Constants minimise the squared relative errors, none is below 0.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from bench import primitives
from bench.cases.choice import Task
from bench.primitives import Counted, Measured, Size, problem_of
from fastgd.bench.machine import ROOT
from fastgd.optimizers import LBFGS, Accelerated, SketchedNewton

TARGET = ROOT / "fastgd" / "solvers" / "cost_model.py"
BEGIN, END = "# Written by python -m bench.costs --write", "# End of what is written.\n"
#: Shapes per formula in a quick run, the smallest ones.
_QUICK = 6
_CONDITIONS = (1e1, 1e2, 1e3, 1e4, 1e6)
#: Accuracy of coordinate descent in a step of SketchedNewton, and in NormalEquations.
_ACCURACIES = (1e-3, 1e-6)
#: Penalties of elastic nets.
_NET = {"alpha": 0.01, "l1_ratio": 0.5}
_DESCENTS = (20, 60, 200, 600)

_PASSES: list[Size] = [
    *[("logistic", n, d, "f8") for n, d in ((1_000, 3), (1_000, 300), (300_000, 6), (100_000, 100), (10_000, 1000))],
    *[("logistic", n, d, "f4") for n, d in ((30_000, 30), (300_000, 3), (200_000, 20), (200_000, 100), (10_000, 1000))],
    *[("linear", n, d, "f8") for n, d in ((200_000, 10), (20_000, 500))],
    *[("softmax 4", n, d, "f4") for n, d in ((3_000, 10), (100_000, 30), (10_000, 800))],
    *[("softmax 10", n, d, "f8") for n, d in ((50_000, 10), (20_000, 100))],
]
_CURVATURES: list[Size] = [
    *[("logistic", n, d, "f8") for n, d in ((1_000, 3), (20_000, 10), (5_000, 300), (2_000, 1_000))],
    *[("logistic", n, d, "f4") for n, d in ((30_000, 30), (20_000, 100), (5_000, 300), (3_000, 800))],
    *[("linear", n, d, "f4") for n, d in ((20_000, 100), (3_000, 500))],
    *[("softmax 5", n, d, "f8") for n, d in ((20_000, 10), (10_000, 50), (3_000, 300))],
]
_METRICS: list[Size] = [("logistic", 4 * d + 500, d, "f8") for d in (3, 30, 100, 200, 300, 500, 800, 1_000)]
_GRAMS: list[Size] = [
    *[("linear", n, d, "f4") for n, d in ((300_000, 3), (200_000, 30), (50_000, 100), (10_000, 300), (3_000, 800))],
    *[("linear", n, d, "f8") for n, d in ((1_000, 3), (200_000, 10), (100_000, 30), (20_000, 100), (5_000, 300))],
    *[("linear", n, d, "f8") for n, d in ((3_000, 800), (2_000, 1_200))],
]
_STEPS: list[Size] = [("logistic", 200, d, "f8") for d in (3, 30, 300, 1_000, 3_000)]


class Formula(NamedTuple):
    """Constants of `fastgd.solvers.cost_model` that are fitted together: of what, their name, how, and on what data."""

    of: str
    name: str
    measure: Callable[[Iterable[Size]], Iterator[Measured]]
    sizes: list[Size]


FORMULAS = [
    Formula(
        "a full pass: once, a row's output, a byte of X, a multiplication of a number of X",
        "PASS",
        primitives.passes,
        _PASSES,
    ),
    Formula(
        "a curvature: once, a row's output, a number of a row made anew, a multiplication of the product",
        "CURVATURE",
        primitives.curvatures,
        _CURVATURES,
    ),
    Formula(
        "a metric: once, a number of the matrix, a multiplication of its elimination",
        "METRIC",
        primitives.metrics,
        _METRICS,
    ),
    Formula(
        "the Gram matrix of all rows: once, a row, a number of it, a multiplication", "GRAM", primitives.grams, _GRAMS
    ),
    Formula(
        "an iteration of L-BFGS beside its pass: once, a parameter",
        "LBFGS_STEP",
        partial(primitives.steps, LBFGS()),
        _STEPS,
    ),
    Formula(
        "the same of the accelerated gradient", "ACCELERATED_STEP", partial(primitives.steps, Accelerated()), _STEPS
    ),
]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the constants into fastgd/solvers/cost_model.py")
    parser.add_argument("--quick", action="store_true", help="small shapes only: to see that all works")
    options = parser.parse_args(arguments)
    lines: list[str] = []
    for line in assignments(options.quick):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        TARGET.write_text(replaced(TARGET.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return 0


def assignments(quick: bool) -> Iterator[str]:
    """Iterate over lines of Python, each after a comment."""
    for formula in FORMULAS:
        sizes = sorted(formula.sizes, key=lambda size: size[1] * size[2])[: _QUICK if quick else None]
        constants = fit(list(formula.measure(sizes)))
        yield f"#: Seconds of {formula.of}."
        yield f"{formula.name} = {numbers(constants)}"
    columns = _DESCENTS[: 2 if quick else None]
    found = [mean(m.seconds / m.terms[0] for m in primitives.descents(columns, tol)) for tol in _ACCURACIES]
    yield "#: Seconds of coordinate descent per number of the matrix, in SketchedNewton and in NormalEquations."
    yield f"DESCENT = {numbers(found)}"
    yield from _counts(1 if quick else 3)


def _counts(part: int) -> Iterator[str]:
    """Iterate over the lines of steps and passes, on problems of a few sizes."""
    all_rows = SketchedNewton(sample_rows=10**9)
    what = "passes of coupled outputs in the metric that they share: smooth, and at an elastic net"
    yield f"#: Steps of Newton's method, {what}."
    newton = mean(c.passes for c in primitives.counts(all_rows, _tasks(["logistic"], part)))
    coupled = [
        mean(c.passes for c in primitives.counts(SketchedNewton(), _tasks(["softmax 4"], part, **penalty)))
        for penalty in ({}, _NET)
    ]
    yield f"NEWTON_STEPS, COUPLED_PASSES = {newton:.2g}, {numbers(coupled)}"
    yield "#: Passes of solvers without a metric: at a hardness of 1, and the power of it that they grow with."
    smooth = _tasks(["logistic", "linear", "softmax 4"], part)
    for optimizer, name, tasks in (
        (LBFGS(), "LBFGS", smooth),
        (Accelerated(), "ACCELERATED", [*smooth, *_tasks(["logistic", "linear"], part, **_NET)]),
    ):
        yield f"{name}_PASSES = {numbers(power(list(primitives.counts(optimizer, tasks))))}"


def _tasks(kinds: list[str], part: int, **penalty: float) -> list[Task]:
    """Return problems of all conditions with these losses, with `part` numbers of rows."""
    sizes = [(kind, rows, 100, "f8") for kind in kinds for rows in (2_000, 5_000, 800)[:part]]
    return [Task(problem_of(size, condition), **penalty) for size in sizes for condition in _CONDITIONS]


def fit(measured: list[Measured]) -> list[float]:
    """Return non-negative constants by least squares on relative errors; print the errors."""
    terms = np.array([m.terms for m in measured]) / np.array([[m.seconds] for m in measured])
    constants, _ = nnls(terms, np.ones(len(measured)))
    for m, share in zip(measured, terms @ constants, strict=True):
        print(f"{1e3 * m.seconds:10.3f} ms, by the formula {share:4.2f} times as long: {m.what}", file=sys.stderr)
    return [float(constant) for constant in constants]


def power(counted: list[Counted]) -> tuple[float, float]:
    """Return factor and exponent of passes as a power of hardness."""
    exponent, level = np.polyfit(np.log([c.hardness for c in counted]), np.log([c.passes for c in counted]), 1)
    for c in counted:
        share = np.exp(level) * c.hardness**exponent / c.passes
        print(f"{c.passes:6d} passes, by the formula {share:4.2f} times as many: {c.what}", file=sys.stderr)
    return float(np.exp(level)), float(exponent)


def mean(values: Iterable[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(list(values)))))


def numbers(values: Iterable[float]) -> str:
    """Return a tuple with two digits each, as ruff formats it."""
    return f"({', '.join(f'{value:.1e}' if 0.0 < value < 1e-2 else f'{value:.2g}' for value in values)})"


def replaced(text: str, lines: list[str]) -> str:
    """Return a module's text with these lines between the two comments.

    Raises
    ------
    ValueError
        If a comment is missing.
    """
    start, end = text.find(BEGIN), text.find(END)
    if not 0 <= start < end:
        raise ValueError(f"{BEGIN!r} and {END!r} are needed, in this order")
    first = text.index("\n", start) + 1
    return text[:first] + "\n".join(lines) + "\n" + text[end:]


if __name__ == "__main__":
    sys.exit(main())
