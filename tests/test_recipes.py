"""CONTRIBUTING's recipes for a loss and a rule are complete: three places each, and the package works with them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Files, the text before which new text is inserted (None: a new file), and the new text: log cosh(z - y).
LOSS = {
    "kernels/losses.py": {
        "class Loss(": '''@jitable
def logcosh_value(z, y, p):
    """log cosh(z - y)."""
    a = abs(z - y)
    return a + log1p(exp(type(z)(-2.0) * a)) - type(z)(0.6931471805599453)


@jitable
def logcosh_grad(z, y, p):
    """tanh(z - y)."""
    r, one = z - y, type(z)(1.0)
    e = exp(type(z)(-2.0) * abs(r))
    t = (one - e) / (one + e)
    return -t if r < type(z)(0.0) else t


@jitable
def logcosh_curvature(z, y, p):
    """1 - tanh(z - y)^2."""
    e = exp(type(z)(-2.0) * abs(z - y))
    return type(z)(4.0) * e / ((type(z)(1.0) + e) * (type(z)(1.0) + e))


''',
        '    "softmax": Loss(': '    "logcosh": Loss(1.0, logcosh_value, logcosh_grad, logcosh_curvature),\n',
    },
    "fastgd/losses/logcosh.py": {
        None: '''"""log cosh(z - y)."""

import numpy as np

from fastgd.losses._base import RegressionLoss, Stage


class LogCosh(RegressionLoss):
    """log cosh(z - y)."""

    name = "logcosh"
    target_scale = "none"

    def stage(self, z, y):
        """Losses, derivatives and curvatures at margins z (n, K)."""
        r = z - y
        tanh = np.tanh(r)
        return Stage(np.logaddexp(r, -r) - np.log(2.0), tanh, 1.0 - tanh * tanh)
''',
    },
    "fastgd/losses/__init__.py": {
        "from fastgd.losses.logistic": "from fastgd.losses.logcosh import LogCosh\n",
        "Logistic, Softmax)}": "LogCosh, ",
    },
    "fastgd/reference/losses.py": {
        "def _sigmoid(": '''def logcosh_value(z: Floats, y: Floats, delta: float) -> Floats:
    """log cosh(z - y)."""
    return (np.logaddexp(z - y, y - z) - np.log(2.0)).sum(axis=1)


def logcosh_gradient(z: Floats, y: Floats, delta: float) -> Floats:
    """tanh(z - y)."""
    return np.tanh(z - y)


def logcosh_curvature(z: Floats, y: Floats, delta: float) -> Floats:
    """1 - tanh(z - y)^2."""
    return _diagonal(1.0 - np.tanh(z - y) ** 2)


def logcosh_conjugate(r: Floats, y: Floats, delta: float) -> Floats:
    """((1 + r) log(1 + r) + (1 - r) log(1 - r)) / 2 + r y where |r| <= 1, else infinite."""
    inside = np.clip(r, -1.0, 1.0)
    found = (_xlogx(1.0 + inside) + _xlogx(1.0 - inside)) / 2 + r * y
    return np.where(inside == r, found, np.inf).sum(axis=1)


''',
        '    "softmax": Loss(': """\
    "logcosh": Loss(logcosh_value, logcosh_gradient, logcosh_curvature, logcosh_conjugate, 1.0),
""",
    },
}

#: The same for a rule: descent along m / (1 + |m|), m a mean of gradients.
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

#: Fits by several solvers and by a rule on both devices, compared with the reference; streams, files and refusals.
LOSS_PROGRAM = """
import sys
import warnings

import numpy as np

import fastgd
from fastgd import LinearRegression, optimizers, reference

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X, y = rng.standard_normal((300, 3)), rng.standard_normal((300, 2))
raw = reference.make_problem(X, y, "logcosh", alpha=0.1)
scaling = reference.fit_scaling(raw)
problem = reference.working_problem(raw, scaling)


def theta_of(model):
    return np.column_stack([model.coef_, model.intercept_])


for device in ("cpu", "cuda"):
    for optimizer in ("auto", "accelerated", "sketched_newton", "lbfgs"):
        model = LinearRegression("logcosh", alpha=0.1, optimizer=optimizer, tol=1e-6, device=device).fit(X, y)
        assert reference.certificate(problem, reference.working_theta(theta_of(model), scaling)) <= 1.1e-6
        assert abs(model.fit_report_["objective"] - reference.objective(raw, theta_of(model))) < 1e-12
    model = LinearRegression(
        "logcosh", alpha=0.1, optimizer=optimizers.Momentum(0.1), batch_size=32, max_iter=2, tol=0.0, random_state=0,
        device=device,
    ).fit(X, y)
    plan = reference.Plan("momentum", 0.1, 2, 32, seed=model.fit_report_["random_state"])
    expected = reference.raw_theta(reference.run(problem, np.zeros(problem.shape), plan).theta, scaling)
    np.testing.assert_allclose(theta_of(model), expected, rtol=1e-10, atol=1e-12)

model = LinearRegression("logcosh", random_state=0).partial_fit(X, y)
model.save(sys.argv[1])
kept, loaded = model.partial_fit(X, y), fastgd.load(sys.argv[1]).partial_fit(X, y)
np.testing.assert_array_equal(loaded.coef_, kept.coef_)
try:
    LinearRegression("logcoshh").fit(X, y)
except ValueError as error:
    assert "'logcosh'" in str(error), error
"""

#: Fits on both devices, compared with the reference; streams, files, minimize and the command's spelling.
RULE_PROGRAM = """
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


def insert(root: Path, edits: dict[str, dict[str | None, str]]) -> None:
    """Insert text before other text, which stands once in its file, or write new files."""
    for name, texts in edits.items():
        path = root / name
        for before, text in texts.items():
            source = path.read_text() if before else ""
            first = source.index(before) if before else 0
            path.write_text(source[:first] + text + source[first:])


@pytest.mark.slow
@pytest.mark.parametrize(("edits", "program"), [(LOSS, LOSS_PROGRAM), (RULE, RULE_PROGRAM)], ids=["loss", "rule"])
def test_a_loss_and_a_rule_are_added_in_three_places(tmp_path, edits, program):
    assert len({str(Path(name).parent) for name in edits}) == 3
    for name in ("fastgd", "kernels"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    insert(tmp_path, edits)
    folders = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment = {**os.environ, **folders, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-c", program, str(tmp_path / "model")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
