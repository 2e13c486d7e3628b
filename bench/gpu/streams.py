"""Data that stay on the host: how fast they can be copied to the GPU, and how close a pass over them comes to that."""

from typing import Any

import numpy as np
from numba import cuda

from bench.gpu.clock import Budget, in_turn, over
from bench.gpu.data import signs
from bench.gpu.passes import Resident, farthest, gradient_of
from bench.gpu.result import NO_TIME, WRONG
from bench.gpu.sizes import Sizes
from bench.result import Finding, Result
from bench.timing import ratios
from bench.yardstick import cores
from fastgd.backends.cuda.data import CudaData
from fastgd.backends.cuda.stream import CudaStream
from fastgd.backends.cuda.transfer import copy

_AT_LEAST = 0.85
#: Relative error, in norm, from sums that are added in another order: float32 products.
RIGHT = 1e-5


def run(result: Result, resident: Resident, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """A pass over plain and over pinned memory, right first, then each in turn with a copy of the same numbers."""
    end, host = budget.until(seconds), resident.data
    rows = min(len(host.X), sizes.stream_bytes // host.X.strides[0])
    plain, y = host.X[:rows], signs(host.y[:rows], np.float32)
    expected = gradient_of(CudaData(resident.X[:rows], y, None, cores()), "logistic")()
    there = cuda.device_array(plain.shape, plain.dtype)
    pinned = cuda.pinned_array(plain.shape, plain.dtype)
    copy(plain.reshape(-1), pinned.reshape(-1), cores())
    budget.say(f"streaming: {plain.nbytes / 1e9:.3g} GB copied to pinned memory")
    raw: dict[str, Any] = {"section": "streaming", "bytes": plain.nbytes}
    result.raw.append(raw)
    for kind, X in (("pinned", pinned), ("plain", plain)):
        memory = "pinned memory" if kind == "pinned" else "a plain NumPy array"
        what = f"Full pass streamed from {memory}, logistic, {rows:,} x {host.X.shape[1]} float32"
        if over(end):
            result.missing[what] = NO_TIME
            continue
        stream = CudaStream(X, y, None, cores())
        run_pass = gradient_of(stream, "logistic")
        found = run_pass()
        off = raw[f"{kind}, off from data held on the GPU"] = farthest(found, expected)
        if not off <= RIGHT:
            result.missing[f"{WRONG}streams, {what}"] = f"off by {off:.3g} from data held on the GPU: not timed"
            continue
        jobs = {"pass": run_pass, "copy": lambda X=X: there.copy_to_device(X)}
        taken = raw[kind] = in_turn(jobs, -(-sizes.rounds // 2), end)
        rates = {name: plain.nbytes / float(np.median(times)) / 1e9 for name, times in taken.items()}
        against = f"copying the same memory to the GPU, {rates['copy']:.1f} GB/s"
        share = ratios(taken["copy"], taken["pass"])
        result.findings.append(Finding(what, rates["pass"], "GB/s", against, share, "share", _AT_LEAST))
        copying = Finding(f"Copy to the GPU from {memory}", rates["copy"], "GB/s", in_readme=False)
        result.findings.append(copying)
        budget.say(f"streaming from {memory}")
        # Its buffers stay pinned as long as it lives.
        del stream, run_pass, jobs
