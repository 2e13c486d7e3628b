"""README, CONTRIBUTING, CHANGELOG and docs agree with the code, the tracked results and each other."""

import doctest
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.datasets import load_diabetes, load_iris

import fastgd
from fastgd import LinearRegression, LogisticRegression, optimizers, schedules
from fastgd.bench.result import Finding, quantity, read

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
PAGES = [*sorted(ROOT.glob("*.md")), *GUIDES]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tracked(case: str, what: str) -> Finding:
    """Return the finding of a tracked result that a number of the README is taken from."""
    _, findings = read(ROOT / "bench" / "results" / f"{case}.json")
    return next(finding for finding in findings if finding.in_table and what in finding.what)


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_examples_of_readme_print_what_it_shows() -> None:
    (example,) = python_blocks(README)
    test = doctest.DocTestParser().get_doctest(example, {}, "README", None, 0)
    assert len(test.examples) == 8
    assert doctest.DocTestRunner().run(test).failed == 0


def test_numbers_of_readme_are_tracked() -> None:
    full_pass = tracked("full_pass", "2,000,000 x 100 float32")
    net = tracked("optimum_net_logistic", "fit to 0.0001")
    small = tracked("optimum_tiny_linear", "fit to 0.0001")
    assert f"**{full_pass.ratio_words[0]}** of the memory's" in README
    assert f"**{quantity(net.value, 's')}**, {net.judged:.1f} times as fast as the fastest rival (glum)" in README
    assert net.against.startswith("glum")
    assert f"**{small.ratio_words[0]}** as fast as scikit-learn's" in README
    assert small.against.startswith("scikit-learn ")


def test_passes_of_readme_are_tracked() -> None:
    fits = json.loads((ROOT / "bench" / "results" / "real.json").read_text(encoding="utf-8"))["fits"]
    passes = sorted(fit["passes"] for fit in fits if fit.get("in_table"))
    many = [count for count in passes if count > 20]
    text = " ".join(README.split())
    assert f"on {len(many)} of {len(passes)} [real data sets]" in text
    assert f"a default fit takes {many[0]:g} to {many[-1]:g} passes, on the others at most" in text
    assert f"at most {passes[-len(many) - 1]:g}." in text


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), (target, anchor)


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *GUIDES], ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:fastgd|kernels|bench|tests|docs|\.ci)/[\w/.]+)`", text)
    # A run writes what stands there.
    missing = [name for name in named if not (ROOT / name).exists() and not name.startswith("bench/results/")]
    assert missing == []
    for module in re.findall(r"`python -m ((?:bench|tests)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_guide_to_rules_lists_all() -> None:
    text = (ROOT / "docs" / "guide" / "rules.md").read_text(encoding="utf-8")
    for name, kind in optimizers.BY_NAME.items():
        assert f'`"{name}"`' in text
        assert issubclass(kind, optimizers.FullBatch) or f"| `{kind.__name__}` |" in text
    for name, schedule in schedules.BY_NAME.items():
        assert f"| `{schedule.__name__}` | `{name}` |" in text


def test_changelog_has_the_version_with_its_date() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[([^]]+)\](.*)$", text, re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    version, date = releases[1]
    assert version == fastgd.__version__
    assert re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date)
    assert f"Version {fastgd.__version__}," in README


def test_parameters_that_readme_calls_the_same_exist() -> None:
    known = {*inspect.signature(LogisticRegression).parameters, *inspect.signature(LinearRegression).parameters}
    rows = re.findall(r"^\| (.*) \| the same \|$", README, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)(?:=\w+)?`", row)}
    assert len(named) >= 8
    assert named <= known


X, Y = load_diabetes(return_X_y=True)
FLOWERS, KINDS = load_iris(return_X_y=True)
COUNT = len(Y)
HUBER = linear_model.HuberRegressor(epsilon=1.5, alpha=0.5, tol=1e-10, max_iter=5000).fit(20.0 * X, Y)


@pytest.mark.parametrize(
    ("theirs", "ours", "X", "y"),
    [
        (
            linear_model.LogisticRegression(C=2.0, tol=1e-10, max_iter=10_000),
            LogisticRegression(alpha=1 / (2.0 * len(KINDS)), tol=1e-10),
            FLOWERS,
            KINDS,
        ),
        (linear_model.Ridge(alpha=5.0), LinearRegression(alpha=5.0 / COUNT, tol=1e-10), X, Y),
        (linear_model.Lasso(alpha=0.1, tol=1e-12), LinearRegression(alpha=0.1, l1_ratio=1.0, tol=1e-10), X, Y),
        (
            linear_model.ElasticNet(alpha=0.1, l1_ratio=0.7, tol=1e-12),
            LinearRegression(alpha=0.1, l1_ratio=0.7, tol=1e-10),
            X,
            Y,
        ),
        (linear_model.LinearRegression(positive=True), LinearRegression(positive=True), X, Y),
        (
            linear_model.HuberRegressor(epsilon=1.5, alpha=0.5, tol=1e-10, max_iter=5000),
            LinearRegression("huber", delta=1.5 * HUBER.scale_, alpha=0.5 * HUBER.scale_ / COUNT, tol=1e-10),
            20.0 * X,
            Y,
        ),
    ],
    ids=["LogisticRegression", "Ridge", "Lasso", "ElasticNet", "positive", "HuberRegressor"],
)
def test_parameters_translated_from_scikit_learn_give_its_coefficients(theirs, ours, X, y) -> None:
    np.testing.assert_allclose(ours.fit(X, y).coef_, theirs.fit(X, y).coef_, rtol=1e-4, atol=1e-4)
