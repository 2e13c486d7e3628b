"""The measured cases and races, by name: each is a function of `quick` that returns a `fastgd.bench.result.Result`."""

import importlib
from collections.abc import Callable

from bench.races import RACES, run_race
from fastgd.bench.result import Result

#: Case -> its module here, or None for a race; in the order in which they run and are shown.
CASES: dict[str, str | None] = {
    **dict.fromkeys(("full_pass", "full_pass_rivals", "epoch", "rules", "threads", "sgd"), "loops"),
    "race": None,
    "choice": "choice",
    "memory": "memory",
    **dict.fromkeys(name for name in RACES if name != "race"),
}
#: Cases of `bench.sparse`, in the order in which they run and are shown.
SPARSE_CASES = (
    *("sparse_logistic", "sparse_a9a", "sparse_retail", "sparse_flights", "sparse_text", "sparse_loops"),
    "wide_logistic",
)


#: Cases of `bench.stream`, in the order in which they run and are shown.
STREAM_CASES = (
    *("stream_pass", "stream_fit", "stream_sgd", "stream_dask", "stream_csv", "stream_flights"),
    "stream_checkpoint",
)


#: Cases of `bench.cluster`, in the order in which they run and are shown.
CLUSTER_CASES = ("cluster_workers", "cluster_bytes", "cluster_model", "cluster_rival")


def load(name: str) -> Callable[[bool], Result]:
    """Return the function that runs a case; the libraries that it needs are imported here."""
    module = CASES[name]
    if module is None:
        return lambda quick: run_race(name, quick)
    run: Callable[[bool], Result] = getattr(importlib.import_module(f"bench.cases.{module}"), name)
    return run
