"""Peak memory of a process that fits ten rows and then, if asked to, a named problem with the same parameters.

python -m bench.children.peak_memory PARAMETERS_AS_JSON [PROBLEM ROWS_DIVIDED_BY]
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np


def peak() -> int:
    """VmHWM in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main() -> None:
    from numba.core import event

    from bench.problems import PROBLEMS
    from fastgd import LogisticRegression

    # Of what is compiled, not of what is loaded.
    compiled = event.RecordingListener()
    event.register("numba:compile", compiled)
    warnings.simplefilter("ignore")
    X = np.linspace(-1.0, 1.0, 20, dtype=np.float32).reshape(10, 2)
    parameters = json.loads(sys.argv[1])
    LogisticRegression(**parameters).fit(X, np.arange(10) % 2)
    answer: dict[str, float] = {"ten_rows": peak()}
    if len(sys.argv) > 2:
        data = PROBLEMS[sys.argv[2]].smaller(int(sys.argv[3])).make()
        answer |= {"data": data.X.nbytes, "labels": data.y.nbytes, "before_fit": peak()}
        model = LogisticRegression(**parameters).fit(data.X, data.y)
        answer |= {"after_fit": peak(), "epochs": model.n_iter_}
    answer["compiled"] = len(compiled.buffer)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
