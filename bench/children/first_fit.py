"""Seconds of the first fit of a process, apart from those of its imports; prints JSON."""

import json
import time

START = time.perf_counter()

from bench.problems import PROBLEMS  # noqa: E402
from fastgd import LogisticRegression  # noqa: E402

IMPORTED = time.perf_counter()


def main() -> None:
    data = PROBLEMS["start"].make()
    start = time.perf_counter()
    model = LogisticRegression().fit(data.X, data.y)
    end = time.perf_counter()
    compiled = model.fit_report_["seconds_compile"]
    print(json.dumps({"imports": IMPORTED - START, "fit": end - start, "compiled": compiled}))


if __name__ == "__main__":
    main()
