"""CONTRIBUTING's recipe for a rule is complete: three places, and every part of the package runs the new rule."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Files, the lines before which text is inserted, and the text: descent along m / (1 + |m|), m a mean of gradients.
RULE = {
    "kernels/rules.py": {
        "class Factors(": '''
@jitable
def softsign(theta, slots, k, j, g, l1, inner, update):
    """Descent along m / (1 + |m|)."""
    m = running_mean(slots[0, k, j], g, update.h1)
    slots[0, k, j] = m
    theta[k, j] = descend(theta[k, j], m, update.rate / (1.0 + abs(m)), l1)


''',
        '    "saga": UpdateRule(': '    "softsign": UpdateRule(softsign, 1),\n',
    },
    "fastgd/optimizers/_adaptive.py": {
        "@dataclass(frozen=True)\nclass AdamW(": '''@dataclass(frozen=True)
class Softsign(WithRate):
    """Descent along m / (1 + |m|)."""

    beta: float = 0.9
    rule: ClassVar[str] = "softsign"
    kernel_rules = (KernelRule("softsign", (1,)),)
    adaptive = AdaptiveRate(0.02)
    ranges: ClassVar[Mapping[str, Range]] = {"beta": FRACTION}


''',
    },
    "fastgd/optimizers/__init__.py": {
        "from fastgd.optimizers._base": "from fastgd.optimizers._adaptive import Softsign\n",
        "    SAGA,\n    Accelerated": "    Softsign,\n",
        '    "SketchedNewton",\n]': '    "Softsign",\n',
        '    "saga",\n': '    "softsign",\n',
    },
    "fastgd/reference/rules.py": {
        "def saga(": '''\
def softsign(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """m' = beta m + (1 - beta) g;  step = eta / (1 + |m'|);  theta' = prox(theta - step m')."""
    m = hyper["beta"] * state["m"] + (1 - hyper["beta"]) * g
    step = rate / (1 + np.abs(m))
    return Step(prox(theta - step * m, step, l1), {"m": m})


''',
        '    "saga": Rule(': '    "softsign": Rule(("m",), {"beta": 0.9}, softsign),\n',
    },
}

#: Fits on both devices, compared with the reference; streams, files, minimize and the command's spelling.
PROGRAM = """
import sys
import warnings

import numpy as np

import fastgd
from fastgd import LinearRegression, minimize, optimizers, reference
from fastgd.cli.rules import read_optimizer
from fastgd.optimizers import Softsign

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
raw = reference.make_problem(X, y, alpha=0.1, l1_ratio=0.5)
scaling = reference.fit_scaling(raw)
problem = reference.working_problem(raw, scaling)


def expected(size, seed):
    plan = reference.Plan("softsign", 0.1, 4, size, hyper={"beta": 0.8}, seed=seed or 0)
    return reference.raw_theta(reference.run(problem, np.zeros(problem.shape), plan).reported, scaling)[0]


for device in ("cpu", "cuda"):
    for size in (16, "full"):
        model = LinearRegression(
            optimizer=Softsign(0.1, beta=0.8), batch_size=size, max_iter=4, tol=0.0, alpha=0.1, l1_ratio=0.5,
            random_state=3, device=device,
        ).fit(X, y)
        theta = expected(size, model.fit_report_["random_state"])
        np.testing.assert_allclose([*model.coef_, model.intercept_], theta, rtol=1e-10, atol=1e-12)
        assert model.fit_report_["device"] == device

model = LinearRegression(optimizer="softsign", random_state=0).fit(X, y)
assert model.score(X, y) > 0.9 * LinearRegression().fit(X, y).score(X, y)
model.partial_fit(X, 7.0 * y).save(sys.argv[1])
kept, changed = model.partial_fit(X, y), fastgd.load(sys.argv[1]).partial_fit(X, y)
np.testing.assert_array_equal(changed.coef_, kept.coef_)
assert minimize(lambda x: (x @ x, 2 * x), [1.0, -2.0], optimizer="softsign", max_iter=5000, tol=1e-3).success
assert read_optimizer("softsign:beta=0.5", 0.1) == Softsign(0.1, beta=0.5)
assert '"softsign"' in LinearRegression.__doc__
"""


def insert(root: Path, edits: dict[str, dict[str, str]]) -> None:
    """Insert text before lines that stand once in their files."""
    for name, texts in edits.items():
        path = root / name
        source = path.read_text()
        for before, text in texts.items():
            first = source.index(before)
            source = source[:first] + text + source[first:]
        path.write_text(source)


@pytest.mark.slow
def test_a_rule_is_added_in_three_places(tmp_path):
    assert len({str(Path(name).parent) for name in RULE}) == 3
    for name in ("fastgd", "kernels"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    insert(tmp_path, RULE)
    folders = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment = {**os.environ, **folders, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "model")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
