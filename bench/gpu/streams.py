"""Data that stay on the host: how fast they can be copied to the GPU, and how close a pass over them comes to that."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from bench.gpu.clock import Budget, in_turn
from bench.gpu.data import signs
from bench.gpu.passes import Resident, gradient_of
from bench.result import Finding, Result
from bench.timing import ratios
from bench.yardstick import cores
from fastgd.backends.cuda_stream import CudaStream

_AT_LEAST = 0.85
#: Bytes of X: many times the buffers.
_BYTES = 1 << 32


def run(result: Result, resident: Resident, rounds: int, budget: Budget, seconds: float) -> None:
    """A pass over plain and over pinned memory, each in turn with a copy of the same numbers."""
    end, host = budget.until(seconds), resident.data
    rows = min(len(host.X), _BYTES // host.X.strides[0])
    plain, y = host.X[:rows], signs(host.y[:rows], np.float32)
    there = cuda.device_array(plain.shape, plain.dtype)
    pinned = cuda.pinned_array(plain.shape, plain.dtype)
    np.copyto(pinned, plain)
    budget.say(f"streaming: {plain.nbytes / 1e9:.3g} GB copied to pinned memory")
    raw: dict[str, Any] = {"section": "streaming", "bytes": plain.nbytes}
    for kind, X in (("pinned", pinned), ("plain", plain)):
        stream = CudaStream(X, y, None, cores())
        jobs: dict[str, Callable[[], Any]] = {
            "pass": gradient_of(stream, "logistic"),
            "copy": lambda X=X: there.copy_to_device(X),
        }
        taken = raw[kind] = in_turn(jobs, rounds, end)
        rates = {name: plain.nbytes / float(np.median(times)) / 1e9 for name, times in taken.items()}
        memory = "pinned memory" if kind == "pinned" else "a plain NumPy array"
        what = f"Full pass streamed from {memory}, logistic, {rows:,} x {host.X.shape[1]} float32"
        against = f"copying the same memory to the GPU, {rates['copy']:.1f} GB/s"
        share = ratios(taken["copy"], taken["pass"])
        result.findings.append(Finding(what, rates["pass"], "GB/s", against, share, "share", _AT_LEAST))
        copying = Finding(f"Copy to the GPU from {memory}", rates["copy"], "GB/s", in_readme=False)
        result.findings.append(copying)
        budget.say(f"streaming from {memory}")
        # Its buffers stay pinned as long as it lives.
        del stream
    result.raw.append(raw)
