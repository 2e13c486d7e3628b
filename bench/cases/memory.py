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
    """In new processes: one that fits ten rows, one that also makes the data and fits them."""
    result = Result(
        "VmHWM of a process that makes X and int64 labels and fits them, less VmHWM of one that fitted ten rows alike, "
        "less X and labels. Kernels come from the cache. Making the data in blocks counts, too."
    )
    made = problem("memory", quick)
    for name, parameters in _FITS.items():
        small, peaks = [], []
        arguments = ["-m", "bench.children.peak_memory", json.dumps(parameters)]
        big = [*arguments, "memory", "10" if quick else "1"]
        call(big)  # so that no kernel is compiled in the processes that count: which they are depends on the size
        for _ in range(1 if quick else _REPEATS):
            small.append(call(arguments))
            peaks.append(call(big))
        if any(answer["compiled"] for answer in (*small, *peaks)):
            raise RuntimeError("a kernel was compiled on the way: its sources changed, or the cache is not writable")
        bases = [answer["ten_rows"] for answer in small]
        extra = [p["after_fit"] - base - p["data"] - p["labels"] for p, base in zip(peaks, bases, strict=True)]
        share = spread([value / made.nbytes for value in extra])
        what = f"Peak memory of a fit ({name}) beyond its data, {made.size}"
        against = f"X, {made.nbytes / 1e6:.0f} MB"
        result.findings.append(Finding(what, max(extra) / 1e6, "MB", against, share, "share", None, _AT_MOST))
        result.raw.append({"problem": made.name, "fit": name, "ten_rows": bases, "peaks": peaks, "extra": extra})
    return result
