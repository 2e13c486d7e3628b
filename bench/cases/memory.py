"""Peak memory of a fit beyond the data themselves."""

import json

from bench.children import call
from bench.problems import problem
from bench.result import Finding, Result
from bench.timing import spread

_AT_MOST = 0.05
_REPEATS = 3
_FITS = {
    "defaults": {},
    "Adam, batches of 256, 2 epochs": {"optimizer": "adam", "batch_size": 256, "max_iter": 2, "tol": 0.0},
}


def run(quick: bool) -> Result:
    """In new processes: one that makes and fits a part of the data, one that does so with all of them.

    Both have loaded the same kernels, which a fit of ten rows would not: that takes none.
    """
    result = Result(
        "VmHWM of a process that makes X and int64 labels and fits them, less X and labels, less the same of one with "
        "a hundredth of the rows: both have loaded the kernels, which come from the cache and take some 50 MB. Making "
        "the data in blocks counts, too."
    )
    made = problem("memory", quick)
    for name, parameters in _FITS.items():
        small, peaks = [], []
        arguments = ["-m", "bench.children.peak_memory", json.dumps(parameters), "memory"]
        few, all_ = ([*arguments, str(divided)] for divided in ((1000, 10) if quick else (100, 1)))
        for which in (few, all_):
            call(which)  # so that no kernel is compiled in the processes that count
        for _ in range(1 if quick else _REPEATS):
            small.append(call(few))
            peaks.append(call(all_))
        if any(answer["compiled"] for answer in (*small, *peaks)):
            raise RuntimeError("a kernel was compiled on the way: its sources changed, or the cache is not writable")
        bases, above = [_beyond(answer) for answer in small], [_beyond(answer) for answer in peaks]
        extra = [value - base for value, base in zip(above, bases, strict=True)]
        share = spread([value / made.nbytes for value in extra])
        what = f"Peak memory of a fit ({name}) beyond its data, {made.size}"
        against = f"X, {made.nbytes / 1e6:.0f} MB"
        result.findings.append(Finding(what, max(extra) / 1e6, "MB", against, share, "share", None, _AT_MOST))
        result.raw.append({"problem": made.name, "fit": name, "few_rows": small, "peaks": peaks, "extra": extra})
    return result


def _beyond(answer: dict[str, float]) -> float:
    """Bytes of a process beyond its data."""
    return answer["after_fit"] - answer["data"] - answer["labels"]
