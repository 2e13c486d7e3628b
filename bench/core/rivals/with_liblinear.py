"""LIBLINEAR itself, without an intercept: its own has a penalty."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from liblinear.liblinearutil import parameter, problem, train

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals.racers import Effort, Racer, tolerances

#: LIBLINEAR's numbers of its solvers.
_SOLVERS = {"Newton": 0, "dual": 7}


def solvers(objective: Objective) -> Iterator[Racer]:
    """Newton's method in a trust region, and dual coordinate descent."""
    if objective.task == "logistic" and objective.l2 and not objective.l1 and not objective.intercept:
        for name, number in _SOLVERS.items():
            yield Racer(f"LIBLINEAR {name}", tolerances("-e"), functools.partial(_start, number=number))


def _start(objective: Objective, effort: Effort, number: int) -> Iterator[Floats]:
    data: Any = problem(objective.y[:, 0], objective.X)
    strength = 1.0 / (objective.alpha * len(objective.y))

    def run() -> Iterator[Floats]:
        model = train(data, parameter(f"-s {number} -c {strength!r} {effort.parameter} {effort.value!r} -q"))
        coef, _ = model.get_decfun()
        # Positive margins are those of the first row's label.
        yield np.append(np.asarray(coef) * (1.0 if model.get_labels()[0] == 1 else -1.0), 0.0)[None]

    return run()
