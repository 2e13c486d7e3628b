"""Test the tests by changing formulas: python -m bench.mutate [--group NAME ...] [--every N].

Every mutant of the formulas of kernels, reference and schedules (see `bench.mutants`) is put into a copy of the tree,
and the tests of its group are run in plain Python until one fails. A mutant that passes all of them is a survivor, see
bench/survivors.md. Each run is a fork of a process that has imported NumPy, Numba and scikit-learn, so that a
mutant takes the seconds of the tests and not those of the imports.

It is no library's job: mutmut replaces functions by trampolines, but Numba's decorators need the functions themselves,
and it does not support a folder `kernels` that is installed as `fastgd.kernels`.
"""

import argparse
import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
_COPIED = ("fastgd", "kernels", "tests", "bench")
#: Imported before the forks; nothing of the tree itself may be among what these import.
_PRELOADED = ("numpy.testing", "scipy.optimize", "numba", "sklearn.base", "sklearn.linear_model", "pytest", "doctest")
#: A mutant that takes this many times as long as the tests without one, and some seconds, is stuck.
_PATIENCE, _LEAST_SECONDS = 3.0, 10.0
#: Exit codes: the tests could not be run; they were those of the tree itself instead of the copy.
_OWN_ERRORS = 99, 98


@dataclass(frozen=True)
class Group:
    """Sources, and the tests that are to detect their mutants, the fastest first.

    leave_out: parts of the names of tests that need compiled code, or are slow for what they detect.
    """

    sources: Sequence[str]
    tests: Sequence[str]
    leave_out: Sequence[str] = ()


#: Tests in which NumPy's scalars warn, or which look at compiled code.
_COMPILED_ONLY = ("test_compiled_losses", "test_gradients_that_are_not_finite", "test_stand_ins")
GROUPS = {
    "kernels": Group(
        ("kernels/losses.py", "kernels/penalties.py", "kernels/rules.py", "kernels/cpu/update.py"),
        ("tests/kernels/test_scalars.py", "tests/kernels/test_update.py", "tests/kernels/test_plain.py"),
        _COMPILED_ONLY,
    ),
    "reference": Group(
        tuple(f"fastgd/reference/{name}.py" for name in ("rules", "losses", "objective")),
        tuple(f"tests/reference/test_{name}.py" for name in ("rules", "losses", "saga", "objective")),
        ("test_converges_linearly",),
    ),
    "schedules": Group(
        tuple(f"fastgd/schedules/{name}.py" for name in ("_base", "_formulas", "_learning_rate")),
        ("tests/schedules",),
    ),
}


@dataclass
class Tally:
    """The outcomes of the mutants of a file."""

    killed: int = 0
    stuck: int = 0
    survivors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of mutants."""
        return self.killed + self.stuck + len(self.survivors)


class Tree:
    """A temporary copy of the sources and tests, in which tests are run."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder, folder / "tests.log"
        for name in _COPIED:
            ignored = shutil.ignore_patterns("__pycache__", "results", "*.nb?")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def read(self, path: str) -> str:
        """Read a source file."""
        return (self._folder / path).read_text(encoding="utf-8")

    def put(self, path: str, source: str) -> None:
        """Write a source file."""
        (self._folder / path).write_text(source, encoding="utf-8")

    @property
    def said(self) -> str:
        """The end of the output of the last run of the tests."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def passes(self, group: Group, seconds: int) -> bool | None:
        """Whether the tests of a group pass; None if they need more seconds of a processor."""
        child = os.fork()
        if child == 0:
            self._test(group, seconds)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == -signal.SIGXCPU:
            return None
        if code in _OWN_ERRORS:
            raise RuntimeError(f"the tests could not be run, exit code {code}:\n{self.said}")
        return code == 0

    def _test(self, group: Group, seconds: int) -> None:
        """Run the tests in the child and end it."""
        code, imported = _OWN_ERRORS
        try:
            # Not wall time, which also passes while other work has the processors.
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(self._folder)
            sys.path[:] = [str(self._folder), *(path for path in sys.path if Path(path).resolve() != ROOT)]
            for name in [name for name in sys.modules if name.split(".")[0] == "bench"]:
                del sys.modules[name]
            import pytest

            words = ["-x", "-q", "-p", "no:cacheprovider", "-o", "timeout=0", *group.tests]
            if group.leave_out:
                words += ["-k", " and ".join(f"not {name}" for name in group.leave_out)]
            code = int(pytest.main(words))
            used = sys.modules.get("fastgd")
            if used is not None and not str(used.__file__).startswith(str(self._folder)):
                code = imported
        finally:
            os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants and write bench/results/mutation.json, or for a part of them bench/results/quick."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutate", description=__doc__)
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth mutant")
    options = parser.parse_args(arguments)
    # Threads of a BLAS do not survive a fork.
    os.environ.update(NUMBA_DISABLE_JIT="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    sys.dont_write_bytecode = True
    for name in _PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder).resolve())
        groups = [GROUPS[name] for name in options.group]
        limits = [_limit(tree, group) for group in groups]
        tallies: dict[str, Tally] = {}
        for group, limit in zip(groups, limits, strict=True):
            tallies |= _run_group(tree, group, limit, options.every)
    partly = options.every > 1 or set(options.group) != set(GROUPS)
    print(f"written to {_write(tallies, partly)}")
    return 0


def _limit(tree: Tree, group: Group) -> int:
    """Return the seconds after which the tests of a group are stuck, from those without a mutant."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    if not tree.passes(group, 600):
        raise RuntimeError(f"{', '.join(group.tests)} fail without any mutant:\n{tree.said}")
    return int(_PATIENCE * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before) + _LEAST_SECONDS)


def _run_group(tree: Tree, group: Group, limit: int, every: int) -> dict[str, Tally]:
    tallies = {}
    for path in group.sources:
        source = tree.read(path)
        tally = tallies[path] = Tally()
        for mutant in list(mutants(source))[::every]:
            tree.put(path, mutant.source)
            _count(tally, path, mutant, tree.passes(group, limit))
        tree.put(path, source)
        print(f"{path}: {len(tally.survivors)} of {tally.total} survive, {tally.stuck} got stuck", flush=True)
    return tallies


def _count(tally: Tally, path: str, mutant: Mutant, passed: bool | None) -> None:
    if passed is None:
        tally.stuck += 1
    elif passed:
        tally.survivors.append({"file": path, "line": mutant.line, "change": mutant.change})
    else:
        tally.killed += 1
        return
    print(f"{path}:{mutant.line}: {mutant.change}{' (stuck)' if passed is None else ''}", flush=True)


def _write(tallies: dict[str, Tally], partly: bool) -> Path:
    # Only now, since it imports fastgd, which the forks must import from the copy.
    from fastgd.bench.result import RESULTS, Finding, Result, write

    survivors = [survivor for tally in tallies.values() for survivor in tally.survivors]
    total = sum(tally.total for tally in tallies.values())
    finding = Finding("Mutants that no test detects", len(survivors), f"of {total}", in_table=False)
    files = {path: {"mutants": t.total, "killed": t.killed, "stuck": t.stuck} for path, t in tallies.items()}
    included = (
        "Tests in plain Python, until the first that fails; stuck mutants, which ran out of time, count as detected."
    )
    result = Result(included, [finding], [{"files": files, "survivors": survivors}])
    return write("mutation", result, RESULTS / "quick" if partly else RESULTS, partly)


if __name__ == "__main__":
    sys.exit(main())
