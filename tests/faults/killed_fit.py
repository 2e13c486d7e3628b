"""A fit with checkpoints in a process of its own, which kills itself at a chosen moment.

`python -m tests.faults.killed_fit CASE FOLDER MOMENT NUMBER`; MOMENT is "none", "pass" (at the beginning of pass or
call NUMBER), "first" (NUMBER milliseconds after the first one began) or "write" (in write NUMBER of the checkpoint:
before all bytes are written, are flushed, or have the name of the file). It prints how many passes and writes there
were.
"""

import builtins
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

import numpy as np

from fastgd import LogisticRegression, checkpoint, files
from fastgd.backends.cpu.epochs import CpuEpochs
from fastgd.objective.recorded_data import RecordedData
from fastgd.solvers import epochs

CASES = {
    "adam": {"optimizer": "adam", "batch_size": 1000, "max_iter": 6, "alpha": 0.01, "l1_ratio": 0.5},
    "lbfgs": {"optimizer": "lbfgs", "alpha": 1e-4},
}
ROWS, COLUMNS = 100_000, 20


def kill() -> None:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


class Moment:
    """Counts passes and writes and kills the process at one of them."""

    def __init__(self, kind: str, number: float) -> None:
        self.kind, self.number, self.passes, self.writes = kind, number, 0, 0

    def begin_pass(self) -> None:
        """Count a pass."""
        if self.kind == "first" and self.passes == 0:
            threading.Timer(self.number / 1000.0, kill).start()
        if self.kind == "pass" and self.passes == self.number:
            kill()
        self.passes += 1

    def is_in_write(self, stage: int) -> bool:
        """Whether the process ends at this stage of a write: the number decides on one of three."""
        return self.kind == "write" and self.writes == self.number and int(self.number) % 3 == stage


class Torn:
    """A file that ends the process in the middle of its bytes."""

    def __init__(self, file) -> None:
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self._file.close()

    def write(self, data) -> None:
        """Write half of the data that are large."""
        self._file.write(data)
        if len(data) > 8:
            self._file.flush()
            kill()


def install(moment: Moment) -> None:
    """Observe passes and writes."""
    # The number of calls must not depend on the load of the machine.
    epochs._FIRST_SLICE_BYTES, epochs._SLICE_SECONDS = 1 << 22, 1e9
    recall, run, write, fsync, replace = RecordedData.recall, CpuEpochs.run, checkpoint.write, os.fsync, os.replace

    def counted_recall(data, kind, args, compute):
        def counted():
            moment.begin_pass()
            return compute()

        return recall(data, kind, args, counted)

    def counted_run(*args):
        moment.begin_pass()
        return run(*args)

    def counted_write(*args):
        write(*args)
        moment.writes += 1

    def opened(path, mode):
        file = builtins.open(path, mode)  # noqa: SIM115
        return Torn(file) if mode == "wb" and moment.is_in_write(0) else file

    def flushed(handle):
        if moment.is_in_write(1):
            kill()
        fsync(handle)

    def replaced(*paths):
        if moment.is_in_write(2):
            kill()
        replace(*paths)

    RecordedData.recall, CpuEpochs.run = counted_recall, counted_run
    checkpoint.write, checkpoint.open = counted_write, opened
    files.os.fsync, files.os.replace = flushed, replaced


def main(case: str, folder: str, kind: str, number: str) -> None:
    """Fit, and save coefficients and history."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, COLUMNS))
    y = X @ rng.standard_normal(COLUMNS) + rng.standard_normal(ROWS) > 0.0
    moment = Moment(kind, float(number))
    install(moment)
    warnings.simplefilter("ignore")
    model = LogisticRegression(random_state=0, n_threads=2, **CASES[case])
    model.fit(X, y, checkpoint=Path(folder) / "fit", checkpoint_every=0)
    history = {name: values for name, values in model.history_.items() if name != "seconds"}
    np.savez(Path(folder) / "end.npz", coef=model.coef_, intercept=model.intercept_, **history)
    sys.stdout.write(f"{moment.passes} {moment.writes}")


if __name__ == "__main__":
    main(*sys.argv[1:])
