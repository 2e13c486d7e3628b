"""The first fit of a process and the second, apart: python -m bench.gpu.first ROWS COLUMNS prints their reports.

In a process of its own, since what has been compiled once is there until a process ends.
"""

import json
import sys
import time


def main(rows: int, columns: int) -> None:
    """Fit twice from plain NumPy arrays."""
    began = time.perf_counter()
    from bench.gpu.data import logistic
    from fastgd import LogisticRegression

    imported = time.perf_counter() - began
    data = logistic(rows, columns, seed=3)
    reports = []
    for _ in range(2):
        began = time.perf_counter()
        model = LogisticRegression(alpha=1e-4, tol=1e-6, device="cuda").fit(data.X, data.y)
        seconds = time.perf_counter() - began
        told = {key: value for key, value in model.fit_report_.items() if key.startswith("seconds")}
        reports.append({"seconds": seconds, **told, "passes": model.fit_report_["passes"]})
    print(json.dumps({"imports": imported, "bytes": data.X.nbytes, "fits": reports}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
