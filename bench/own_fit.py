"""fastgd in the race to the optimum: its estimators with defaults, and nothing but what they document."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import fits
from bench.check import Floats
from bench.fits import Effort
from bench.objective import Objective
from bench.racing import Racer
from fastgd import LinearRegression, LogisticRegression

NAME = "fastgd"


class OwnFit:
    """Whole fits at tolerances from 0.1 to 1e-8; `reports` keeps the last `fit_report_` of each."""

    def __init__(self) -> None:
        self.reports: dict[Effort, dict[str, Any]] = {}

    def racer(self) -> Racer:
        """It in a race."""
        return Racer(NAME, fits.tolerances(), self._start, validates=True)

    def _start(self, objective: Objective, effort: Effort) -> Iterator[Floats]:
        estimator = LinearRegression if objective.task == "linear" else LogisticRegression
        X, y = objective.data.X, objective.data.y

        def run() -> Iterator[Floats]:
            model = estimator(alpha=objective.alpha, l1_ratio=objective.l1_ratio, tol=effort.value).fit(X, y)
            self.reports[effort] = dict(model.fit_report_)
            # A fit without its certificate is taken for none.
            yield fits.theta(model) if model.fit_report_["converged"] else np.full(objective.shape, np.nan)

        return run()

    def told(self, effort: Effort) -> dict[str, Any]:
        """What the report of the last fit at this tolerance says about its course."""
        keys = ("solver", "reason", "passes", "certificate", "seconds_compile", "seconds_total")
        return {key: self.reports[effort].get(key) for key in keys}
