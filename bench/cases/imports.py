"""How long imports take, and what they leave out."""

import tempfile
from pathlib import Path

from bench.children import call
from bench.result import Finding, Result
from bench.timing import ROUNDS, Spread, spread

_TIMED = """
import json, sys, time
{before}
start = time.perf_counter()
{timed}
print(json.dumps({{"seconds": time.perf_counter() - start, "numba": "numba" in sys.modules}}))
"""
_FIT = """
import json, numpy
from fastgd import LogisticRegression
LogisticRegression().fit(numpy.eye(10, 3), numpy.arange(10) % 2).save({path!r})
print(json.dumps({{}}))
"""
_PREDICT = """
import fastgd
X = numpy.eye(10, 3)
fastgd.load({path!r}).predict(X)
"""
#: What is timed: what is imported before, and the statement.
_IMPORTS = {
    "import fastgd": ("import numpy", "import fastgd"),
    "import numba": ("import sklearn.linear_model", "import numba"),
    "LogisticRegression": ("import sklearn.linear_model", "from fastgd import LogisticRegression"),
    "LogisticRegression after numba": (
        "import sklearn.linear_model, numba",
        "from fastgd import LogisticRegression",
    ),
}


def run(quick: bool) -> Result:
    """Each statement in new processes, in turn."""
    result = Result("A statement in a new process, byte code and files in the system's cache.")
    codes = {name: ["-c", _TIMED.format(before=before, timed=timed)] for name, (before, timed) in _IMPORTS.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.safetensors")
        call(["-c", _FIT.format(path=path)])
        codes["load and predict"] = ["-c", _TIMED.format(before="import numpy", timed=_PREDICT.format(path=path))]
        runs = {name: [call(code) for _ in range(1 + (3 if quick else ROUNDS))][1:] for name, code in codes.items()}
    seconds = {name: spread([run["seconds"] for run in answers]) for name, answers in runs.items()}
    lazy = all(not run["numba"] for name in ("import fastgd", "load and predict") for run in runs[name])
    _add(result, "import fastgd, after numpy", seconds["import fastgd"], 0.15)
    numba = seconds["import numba"]["median"]
    name = "from fastgd import LogisticRegression, after sklearn.linear_model"
    _add(result, name, seconds["LogisticRegression"], None, f"import numba alone {numba:.2f} s")
    _add(result, f"{name} and numba", seconds["LogisticRegression after numba"], None)
    imported = "without importing numba" if lazy else "numba was imported"
    _add(result, "fastgd.load and predict, 10 rows, imports included", seconds["load and predict"], None, imported)
    if not lazy:
        raise AssertionError("import fastgd, fastgd.load or predict imported numba")
    result.raw.append({"runs": runs})
    return result


def _add(result: Result, what: str, seconds: Spread, at_most: float | None, note: str = "") -> None:
    against = "; ".join(filter(None, [f"{1e3 * seconds['min']:.3g} to {1e3 * seconds['max']:.3g} ms", note]))
    shown = at_most is not None
    result.findings.append(Finding(what, seconds["median"], "s", against, at_most=at_most, in_readme=shown))
