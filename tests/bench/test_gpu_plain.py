"""The GPU's benchmark on a plain scientific Python: neither the checkout nor most of what it depends on is installed.

A machine with a GPU often has NumPy, SciPy, scikit-learn and Numba, and nothing of what else an installation brings.
"""

import json
import os
import subprocess
import sys

import pytest

#: What is not there; scikit-learn itself needs threadpoolctl and joblib.
MISSING = (
    *("pytest", "platformdirs", "filelock", "typer", "click", "rich", "pandas", "matplotlib", "psutil"),
    *(
        "polars",
        "duckdb",
        "safetensors",
        "torch",
        "cupy",
        "jax",
        "optax",
        "sklearnex",
        "glum",
        "skglm",
        "importlinter",
        "numpydoc",
    ),
)
HOOK = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING}:
            raise ModuleNotFoundError(f"No module named {{name!r}} here", name=name)

sys.meta_path.insert(0, Missing())
"""
IMPORTS = """
import importlib, pkgutil
import bench.gpu, fastgd.backends, fastgd.objective, fastgd.solvers

for package in (bench.gpu, fastgd.backends, fastgd.objective, fastgd.solvers):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
print("all imported")
"""
#: Checks of each kind; that they find something is seen elsewhere.
CHECKS = """
from bench.gpu import check_arrays, check_data, checks
from bench.gpu.clock import Budget
from tests.kernels.table import ALL

some = [check_data.pass_check(ALL[4], (23, 3), 1), check_arrays.array_checks(1)[0]]
found = checks.run(some, Budget(300.0), 300.0)
print(found.ran, found.failed)
"""
HELP = """
import runpy, sys

sys.argv[1:] = ["--help"]
runpy.run_module("bench.gpu", run_name="__main__")
"""


@pytest.fixture
def run(tmp_path, root):
    """Run Python with these words; what is missing is missing in every process that it starts, too."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}

    def start(*words):
        return subprocess.run(
            [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, check=False
        )

    return start


def test_what_is_missing_is_missing(run):
    done = run("-c", "import pytest")
    assert "No module named 'pytest' here" in done.stderr


def test_all_that_it_needs_is_imported_checks_run_and_it_says_how_it_is_used(run):
    done = run("-c", IMPORTS + CHECKS + HELP)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("all imported\n2 []\n"), done.stderr
    assert "--only" in done.stdout


@pytest.mark.slow
def test_sections_run(run, tmp_path):
    done = run("-m", "bench.gpu", "--simulated", "--only", "first", "rivals", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert [raw["section"] for raw in content["raw"]] == ["gpu", *["first fit of a process"] * 2, "whole"]
    assert len(content["findings"]) == 9
    assert content["missing"]["CuPy, pass"] == "ours was not measured (pass)"
    assert content["quick"]
