"""Count passes and seconds of the default solver on real data: ``python -m bench.real_data``.

Writes ``bench/results/real_data.json``, the source of the table of passes on real data. Seconds depend on the load of
the machine; passes do not.
"""

import json
import statistics
import sys
import time
import warnings

from bench.datasets import LOADERS, Dataset, load
from fastgd.bench.machine import describe
from fastgd.bench.ours import estimator
from fastgd.bench.result import RESULTS

_REPEATS = 3


def measure(data: Dataset) -> dict[str, object]:
    """Fit with default parameters, once to compile and then repeatedly."""
    kind = estimator("linear" if data.loss == "squared" else "logistic")
    seconds = []
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        model = kind().fit(data.X, data.y)
        seconds.append(time.perf_counter() - began)
    report = model.fit_report_
    return {
        "name": data.name,
        "loss": data.loss,
        "rows": data.X.shape[0],
        "columns": data.X.shape[1],
        "solver": report["solver"],
        "passes": round(report["passes"], 1),
        "seconds": round(statistics.median(seconds[1:]), 4),
        **{key: report[key] for key in ("certificate", "converged", "warnings")},
    }


def main() -> None:
    """Measure all data sets and write the results."""
    warnings.simplefilter("ignore")
    found, missing = [], {}
    for name in LOADERS:
        try:
            data = load(name)
        except Exception as error:  # whatever a missing folder, file or reader raises
            missing[name] = f"{type(error).__name__}: {error}"
            continue
        found.append(measure(data))
        print({key: value for key, value in found[-1].items() if key != "warnings"}, flush=True)
    if missing:
        sys.exit(f"not measured, nothing written: {missing}")
    text = json.dumps({"machine": describe(), "fits": found}, indent=1)
    (RESULTS / "real_data.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
