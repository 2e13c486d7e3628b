"""The kernel cache: hits, misses after any edit, several processes at once, and unusable files."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import filelock
import numpy as np
import pytest

from fastgd.kernels import _cache, _entries, _jit
from tests.damages import DAMAGES

#: Loss sum of a two-row problem, and how many events of compiling it took to get there.
FIT = """
import json, sys
import numpy as np
from numba.core import event
from fastgd.backends.cpu.data import CpuData
from fastgd.kernels import _cache, _jit

losses, compiled = {}, event.RecordingListener()
event.register("numba:compile", compiled)
for loss in sys.argv[1:]:
    X, y = np.array([[1.0], [2.0]]), np.ones((1, 2))
    data = CpuData(X, y, None, 1)
    coef, intercept = np.array([[0.5], [-2.0]]), np.array([0.25, 1.0])
    k = 2 if loss == "softmax" else 1
    losses[loss] = data.gradient(loss, coef[:k], intercept[:k], np.zeros(1), 0.1).losses.sum()
assert _jit.compile_seconds() > 0  # of loading, too
print(json.dumps([losses, len(compiled.buffer), str(_cache.FOLDER)]))
"""
FEW = ["squared", "logistic"]
Z = np.array([0.75, 1.25])
#: The same losses by hand: margins 0.75 and 1.25 (softmax: against -1 and -3 for the other class), targets 1.
EXPECTED = {
    "squared": np.sum((Z - 1) ** 2 / 2),
    "huber": np.sum(0.1 * (np.abs(Z - 1) - 0.05)),
    "logistic": np.sum(np.log1p(np.exp(-Z))),
    "softmax": np.sum(np.log(np.exp(Z) + np.exp([-1.0, -3.0])) - [-1.0, -3.0]),
}


def start(*losses: str, root: Path, code: str = FIT, **environment: str) -> subprocess.Popen:
    """Run a new process with the sources in `root`."""
    env = {**os.environ, "PYTHONPATH": str(root), **environment}
    words = [sys.executable, "-c", code, *losses]
    return subprocess.Popen(words, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> tuple[dict[str, float], int, str]:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return tuple(json.loads(out))


def together(losses: Iterable[str], root: Path, folder: Path, compiled: bool) -> None:
    """Kernels of one factory; once they shared a cache entry by their name, and one loss was computed for another."""
    processes = [start(loss, root=root, NUMBA_CACHE_DIR=str(folder)) for loss in losses]
    for loss, process in zip(losses, processes, strict=True):
        found, compilations, where = finish(process)
        assert found[loss] == pytest.approx(EXPECTED[loss], rel=1e-14)
        assert (compilations > 0) == compiled, loss
        assert Path(where).parent == folder


@pytest.fixture(scope="module")
def cache(root, tmp_path_factory):
    """Return a cache folder with kernels of two losses, compiled by two processes at once."""
    folder = tmp_path_factory.mktemp("cache")
    together(FEW, root, folder, compiled=True)
    return folder


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*.entry")}


def test_other_processes_compile_and_write_nothing(root, cache):
    before = contents(cache)
    assert before
    together(FEW, root, cache, compiled=False)
    assert contents(cache) == before


@pytest.mark.slow
def test_processes_together_on_an_empty_cache(root, tmp_path):
    for compiled in (True, False):
        together(EXPECTED, root, tmp_path, compiled)


@pytest.mark.slow
def test_byte_code_uses_kernels_of_sources(root, tmp_path):
    """The first process after an installation reads sources and writes byte code, which others read."""
    folders = {"NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPYCACHEPREFIX": str(tmp_path / "byte code")}
    compilations = [finish(start("squared", root=root, PYTHONDONTWRITEBYTECODE="", **folders))[1] for _ in range(2)]
    assert compilations[0] > 0
    assert compilations[1] == 0


def test_an_edit_in_another_file_of_the_kernels_is_seen(root, cache, tmp_path):
    """Numba looks at the file of a kernel's own function only; the loss is in another."""
    for name in ("fastgd", "kernels"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "kernels" / "losses.py"
    source = path.read_text()
    assert source.count("type(z)(0.5) * r * r") == 1
    path.write_text(source.replace("type(z)(0.5) * r * r", "type(z)(1.5) * r * r"))
    if not (tmp_path / "fastgd" / "kernels").is_symlink():
        pytest.skip("this checkout has no symlinks")
    losses, compilations, _ = finish(start("squared", root=tmp_path, NUMBA_CACHE_DIR=str(cache)))
    assert losses["squared"] == pytest.approx(3 * EXPECTED["squared"], rel=1e-14)
    assert compilations > 0


NOWHERE = """
import tempfile
def fail():
    raise FileNotFoundError("no usable temporary directory")
tempfile._get_default_tempdir = fail

from fastgd.kernels import _cache, _jit

@_jit.cpu_kernel("test_add_two")
def add_two(x):
    return x + 2

print(add_two(40), _jit.compiled_kernels(), _cache.FOLDER)
"""


@pytest.mark.skipif(os.name != "posix", reason="/dev/null holds no folder on POSIX only")
def test_without_any_writable_folder_kernels_still_run(root):
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR"), "/dev/null/none")
    out, err = start(root=root, code=NOWHERE, **nowhere).communicate(timeout=200)
    assert out == "42 ['test_add_two'] None\n", err


# The rest in this process, with a kernel that compiles at once.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "FOLDER", tmp_path)
    monkeypatch.setattr(_jit, "_kernels", [])
    return tmp_path


def new_kernel():
    """Return the kernel as in a new process, not compiled yet."""

    def add_two(x):
        return x + 2

    return _jit.cpu_kernel("test_add_two")(add_two)


def hit() -> bool:
    """Return whether a new process would load the kernel."""
    kernel = new_kernel()
    assert kernel(40) == 42
    (hits,) = kernel.stats.cache_hits.values() or [0]
    return hits == 1


def test_a_kernel_is_saved_and_loaded(folder):
    assert [hit(), hit(), hit()] == [False, True, True]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_a_miss_and_is_rewritten(folder, damage, caplog):
    hit()
    (path,) = folder.glob("*.entry")
    damage(path)
    assert [hit(), hit()] == [False, True]
    assert caplog.text.count("ignored an unreadable cached kernel") == 1


@pytest.mark.parametrize("end", [".entry", ".entry.lock"])
def test_a_file_that_cannot_be_opened_stops_nothing(folder, end, caplog):
    """A folder replaces the file, since root may write to any file."""
    hit()
    (entry,) = folder.glob("*.entry")
    path = entry.with_suffix(end)
    path.unlink(missing_ok=True)
    path.mkdir()
    assert hit() == (end != ".entry")
    assert (end != ".entry") == ("could not cache" not in caplog.text)


def test_a_vanished_folder_stops_nothing(folder, caplog):
    kernel = new_kernel()
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    assert kernel(1) == 3
    assert "could not cache" in caplog.text


@pytest.fixture
def missing(folder):
    """The file of a kernel's entry, what it should hold, and a lock that another process could hold."""
    hit()
    (path,) = folder.glob("*.entry")
    saved = path.read_bytes()
    path.unlink()
    return path, saved, filelock.FileLock(f"{path}.lock")


def test_a_kernel_that_another_process_is_compiling_is_waited_for_and_loaded(missing):
    path, saved, lock = missing
    kernel, results = new_kernel(), []
    thread = threading.Thread(target=lambda: results.append(kernel(1)), daemon=True)
    with lock:
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        path.write_bytes(saved)
    thread.join()
    assert results == [3]
    assert sum(kernel.stats.cache_hits.values()) == 1


def test_a_kernel_that_a_stopped_process_is_compiling_is_compiled_here(missing, monkeypatch, caplog):
    path, _, lock = missing
    monkeypatch.setattr(_entries, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(_entries, "PATIENCE_SECONDS", 0.1)
    with lock:
        assert new_kernel()(1) == 3
    first, second = caplog.messages
    assert first == f"waiting for another process, which compiles test_add_two and holds {path}.lock"
    assert second.startswith("compiling test_add_two without waiting longer for the process that holds")
    assert hit()


def test_a_failed_compilation_leaves_no_lock(folder):
    """The reader's thread is still alive when another one compiles."""
    kernel, failed, end = new_kernel(), threading.Event(), threading.Event()
    errors = []

    def fail():
        try:
            kernel(object())
        except Exception as error:
            errors.append(error)
        failed.set()
        end.wait()

    thread = threading.Thread(target=fail, daemon=True)
    thread.start()
    failed.wait()
    assert len(errors) == 1
    for path in folder.glob("*.lock"):
        with filelock.FileLock(path, timeout=0):
            pass
    end.set()
    thread.join()


def test_an_interrupt_while_a_lock_is_released_leaves_none(missing, monkeypatch):
    release, calls = _entries.CompileLocks.release, []

    def interrupted(locks):
        calls.append(locks)
        if len(calls) == 1:
            raise KeyboardInterrupt
        release(locks)

    monkeypatch.setattr(_entries.CompileLocks, "release", interrupted)
    with pytest.raises(KeyboardInterrupt):
        new_kernel()(1)
    with missing[2].acquire(timeout=0):
        pass


def test_kernels_work_after_removal_of_their_folder(folder, caplog):
    """By a process of other sources, between its start and its first fit."""
    hit()
    kernel = new_kernel()
    shutil.rmtree(folder)
    assert kernel(1) == 3
    assert not caplog.text
    assert hit()
