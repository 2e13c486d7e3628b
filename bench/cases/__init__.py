"""The measured cases: each module has `run(quick)`, which gives a `bench.result.Result`."""

import importlib
from collections.abc import Callable

from bench.result import Result

#: In the order in which they run and are shown.
CASES = [
    *("full_pass", "full_pass_rivals", "epoch", "rules", "threads", "sgd"),
    *("race", "auto_rates", "choice", "memory"),
]


def load(name: str) -> Callable[[bool], Result]:
    """The function that runs a case; what it needs is imported here."""
    run: Callable[[bool], Result] = importlib.import_module(f"bench.cases.{name}").run
    return run
