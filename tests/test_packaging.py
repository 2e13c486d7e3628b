"""What is installed, under which names, and what importing it costs."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import fastgd

#: Packages that are installed inside fastgd, and their folders.
LINKED = {"fastgd.kernels": "kernels", "fastgd.bench": "bench/core"}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """Build the wheel from a copy of the sources without symlinks, as a checkout on Windows has them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    for name in ("fastgd", "kernels", "bench"):
        shutil.copytree(root / name, copy / name, ignore=lambda folder, names: _left_out(folder, names), symlinks=True)
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "dist", "."]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], cwd=copy, check=True)
    (path,) = (copy / "dist").iterdir()
    return path


def _left_out(folder, names):
    return {name for name in names if name == "__pycache__" or os.path.islink(os.path.join(folder, name))}


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


def folders_of_code(root):
    """Return package name -> folder, for every folder that holds Python files."""
    found = {}
    for top, name in (("fastgd", "fastgd"), *((top, name) for name, top in LINKED.items())):
        for folder, _, files in os.walk(root / top):
            if any(file.endswith(".py") for file in files):
                inside = os.path.relpath(folder, root / top)
                parts = [] if inside == "." else inside.split(os.sep)
                found[".".join([name, *parts])] = "/".join([top, *parts])
    return found


def test_packages_are_the_folders_on_disk(root, project):
    found = folders_of_code(root)
    tool = project["tool"]["setuptools"]
    assert sorted(tool["packages"]) == sorted(found)
    mapped = tool["package-dir"]
    assert mapped == {name: folder for name, folder in found.items() if name in mapped}
    assert {name for name in found if name.startswith(tuple(LINKED))} == mapped.keys() - {"fastgd"}


@pytest.mark.parametrize("name", ["fastgd.kernels", "fastgd.bench"])
def test_static_tools_find_folders_by_symlinks(root, name):
    link = root / name.replace(".", "/")
    if not link.is_symlink():
        pytest.skip("this checkout has no symlinks")
    assert link.resolve() == (root / LINKED[name]).resolve()


def test_wheel_holds_kernels_and_benchmarks_inside_fastgd_only(root, wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"fastgd", f"fastgd-{fastgd.__version__}.dist-info"}
    assert "fastgd/py.typed" in names
    for name, folder in LINKED.items():
        sources = list((root / folder).rglob("*.py"))
        assert len(sources) > 3
        for path in sources:
            assert f"{name.replace('.', '/')}/{path.relative_to(root / folder).as_posix()}" in names
    assert not any(name.startswith(("fastgd/bench/gpu", "fastgd/bench/results")) for name in names)


def test_wheel_works_from_another_folder(wheel, tmp_path):
    site = tmp_path / "site"
    words = ["install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = python(
        "import fastgd, fastgd.bench.rivals, fastgd.kernels, numpy as np\n"
        "X = np.random.default_rng(0).normal(size=(200, 3))\n"
        "model = fastgd.LinearRegression(tol=1e-9).fit(X, X @ [1.0, 2.0, 3.0] + 4)\n"
        "np.testing.assert_allclose([*model.coef_, model.intercept_], [1, 2, 3, 4], rtol=1e-6)\n"
        "print(fastgd.__file__, fastgd.kernels.__file__)\n",
        cwd=elsewhere,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(site / "fastgd" / "__init__.py"), str(site / "fastgd/kernels/__init__.py")]
    script = subprocess.run([site / "bin" / "fastgd", "--version"], cwd=elsewhere, env=environment, capture_output=True)
    assert script.stdout.decode() == f"fastgd {fastgd.__version__}\n"


#: A file of a user who checks types.
TYPED = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd.optimizers import Adam

X = np.ones((4, 2))
model = fastgd.LinearRegression(alpha=0.1, optimizer=Adam(learning_rate=0.1), batch_size=2).fit(X, X[:, 0])
assert_type(model, fastgd.LinearRegression)
assert_type(model.predict(X), NDArray[np.float64])
assert_type(model.fit_report_["passes"], float)
classes = fastgd.LogisticRegression().fit(X, ["a", "b", "a", "b"]).classes_
assert_type(classes, NDArray[Any])
assert_type(fastgd.load("model.safetensors"), fastgd.LinearRegression | fastgd.LogisticRegression)
fastgd.LinearRegression(max_iter="many")
"""


@pytest.mark.slow
def test_types_reach_a_users_file(wheel, tmp_path):
    """An installed fastgd is typed for mypy: it accepts what is right and finds the one wrong argument."""
    pytest.importorskip("mypy", reason="needs mypy: pip install mypy")
    venv.create(tmp_path / "venv")
    executable = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    where = subprocess.run([executable, "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True)
    site = where.stdout.decode().strip()
    words = ["install", "--quiet", "--no-deps", "--no-index", "--target", site, str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], check=True)
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "typed.py").write_text(TYPED)
    words = ["--python-executable", str(executable), "--cache-dir", str(tmp_path / "cache"), "typed.py"]
    done = subprocess.run([sys.executable, "-m", "mypy", *words], cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert 'Argument "max_iter" to "LinearRegression" has incompatible type "str"' in errors[0]


def test_importing_fastgd_imports_nothing_heavy(root):
    check = "import sys, fastgd; print({'numpy', 'numba', 'scipy', 'sklearn', 'typer'} & sys.modules.keys())"
    done = python(check, cwd=root)
    assert done.stdout == "set()\n", done.stderr


def test_the_folder_kernels_is_no_package_of_that_name(root):
    done = python("import kernels", cwd=root)
    assert "ImportError" in done.stderr
    assert "fastgd.kernels" in done.stderr


def test_public_names(root):
    for name in fastgd.__all__:
        assert getattr(fastgd, name) is not None
    assert dir(fastgd) == sorted(fastgd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastgd.nothing  # noqa: B018
    tree = ast.parse((root / "fastgd" / "__init__.py").read_text())
    (hints,) = (node for node in tree.body if isinstance(node, ast.If))
    hinted = {alias.asname or alias.name for node in hints.body for alias in node.names}
    assert issubclass(fastgd.DivergenceError, RuntimeError)
    assert issubclass(fastgd.ModelFileError, ValueError)
    assert hinted - {"Any"} == fastgd._HOMES.keys() == set(fastgd.__all__) - {"__version__"}


def test_imports_run_downward_only(root):
    """In a process of its own, since import-linter disables loggers that exist."""
    if not (root / "fastgd" / "kernels").is_symlink():
        pytest.skip("this checkout has no symlinks")
    done = python("from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr


def test_facts_of_a_release_agree(root, project):
    """The citation names this version, and the workflows test the supported versions of Python."""
    citation = (root / "CITATION.cff").read_text()
    assert f"\nversion: {fastgd.__version__}\n" in citation
    assert f"\nlicense: {project['project']['license']}\n" in citation
    assert f"\n## [{fastgd.__version__}] - " in (root / "CHANGELOG.md").read_text()
    checks = (root / ".github" / "workflows" / "checks.yml").read_text()
    versions = re.search(r'python: \[("3\.\d+"(?:, "3\.\d+")*)\]', checks)[1].replace('"', "").split(", ")
    assert project["project"]["requires-python"] == f">={versions[0]}"
    first = int(versions[0].removeprefix("3."))
    assert versions == [f"3.{first + i}" for i in range(len(versions))]
