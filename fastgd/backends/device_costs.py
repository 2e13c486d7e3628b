"""What a fit is expected to take on the CPU and on a GPU: the choice of device="auto".

All constants are assumptions that no GPU has confirmed: sizes of today's server machines, rounded against the GPU.
"""

from dataclasses import dataclass

#: Bytes a second: from the host's memory to the GPU's; read by the GPU; by a thread of the CPU, and by all at most.
_TRANSFER, _GPU_READS, _THREAD_READS, _CPU_READS = 1e10, 1e12, 1e10, 1e11
#: Seconds of a pass beside reading, its launches and the wait for its end; of an update of a mini-batch rule.
_GPU_PASS, _GPU_UPDATE, _CPU_PASS, _CPU_UPDATE = 2e-4, 1e-5, 5e-5, 2e-6
#: Seconds to start CUDA and to compile what a fit needs, where this process has not done so yet, 8 to 10 kernels of 1
#: to 3 s each, whether or not they lie on disk, which is not looked up; else its small copies.
_GPU_START, _GPU_FIT = 16.0, 0.02
#: Passes that solvers of the full batch are expected to take, and rules on it at most.
FEW_PASSES, MANY_PASSES = 8, 100
#: How many times the GPU must be faster: so wrong may the assumptions be.
_MARGIN = 2.0


@dataclass(frozen=True)
class Work:
    """What a fit on data of the host will do.

    nbytes: of X. passes: over X, as expected. updates: of all mini-batches, 0 for the full batch. n_threads: of the
    CPU that share a pass, or a mini-batch.
    """

    nbytes: int
    passes: float
    updates: float
    n_threads: int

    def on_cpu(self) -> float:
        """Seconds on the CPU."""
        rate = min(_THREAD_READS * self.n_threads, _CPU_READS)
        return self.passes * (_CPU_PASS + self.nbytes / rate) + self.updates * _CPU_UPDATE

    def on_gpu(self, started: bool, streamed: bool = False) -> float:
        """Seconds on the GPU, the way there included: once, or in every pass where X is streamed through it."""
        start = _GPU_FIT if started else _GPU_START + _GPU_FIT
        there, read = self.nbytes / _TRANSFER, self.nbytes / _GPU_READS
        pass_, once = (max(there, read), 0.0) if streamed else (read, there)
        return start + once + self.passes * (_GPU_PASS + pass_) + self.updates * _GPU_UPDATE

    def pays(self, started: bool, streamed: bool = False) -> bool:
        """Whether the GPU is expected to be clearly faster."""
        return _MARGIN * self.on_gpu(started, streamed) < self.on_cpu()
