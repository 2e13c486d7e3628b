"""The GPU's compiled kernels on disk: entries, the ingredients of keys, and concurrent processes."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastgd.kernels._entries import Entries
from fastgd.kernels.cuda import _cache
from tests.damages import DAMAGES, flipped

NAME, KEY, DATA = "scale", "a key", bytes(range(256)) * 20


def test_saved_entries_are_loaded(tmp_path):
    entries = Entries(tmp_path)
    assert entries.load(NAME, KEY) is None
    entries.save(NAME, KEY, DATA)
    assert entries.load(NAME, KEY) == DATA
    assert entries.load(NAME, "another key") is None
    entries.save(NAME, KEY, b"newer")
    assert entries.load(NAME, KEY) == b"newer"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_reported(tmp_path, damage):
    entries = Entries(tmp_path)
    entries.save(NAME, KEY, DATA)
    damage(entries.path(NAME, KEY))
    with pytest.raises(ValueError, match="does not hold what was saved"):
        entries.load(NAME, KEY)


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    entries = Entries(tmp_path)
    entries.save(NAME, KEY, DATA)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastgd.kernels._entries.os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        entries.save(NAME, KEY, b"newer")
    assert entries.load(NAME, KEY) == DATA
    assert len(list(tmp_path.iterdir())) == 1


class Kernel:
    """A dispatcher as the cache sees it; its compiled kernels are bytes."""

    def __init__(self, made_of: str = "make_scale(2,)", name: str = NAME, **options: object) -> None:
        self.__name__, self.made_of, self.targetoptions = name, made_of, {"lto": True, **options}
        self._cache, self.counts, self.fails = None, Counter(), False
        _cache.cached(self)

    def compile(self, sig: tuple[str, ...]) -> SimpleNamespace:
        found = self._cache.load_overload(sig, None)
        self.counts["loaded" if found else "compiled"] += 1
        if found is None:
            if self.fails:
                raise KeyboardInterrupt
            found = SimpleNamespace(code=f"{self.made_of} {sig}".encode(), bind=lambda: None)
            self._cache.save_overload(sig, found)
        return found


def unpacked(data: bytes, types: tuple[str, ...]) -> SimpleNamespace:
    def bind() -> None:
        if b"refused" in data:
            raise RuntimeError("CUDA_ERROR_INVALID_IMAGE")
        if b"lost" in data:
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    return SimpleNamespace(code=data, bind=bind)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "entries", lambda: Entries(tmp_path))
    monkeypatch.setattr(_cache, "toolchain", lambda: "these tools")
    monkeypatch.setattr(_cache, "packed", lambda kernel: kernel.code)
    monkeypatch.setattr(_cache, "unpacked", unpacked)
    monkeypatch.setattr("numba.cuda.get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    return tmp_path


def hit(*args, types=("f4", "f8"), **options) -> bool:
    """Whether a new process would load the kernel."""
    kernel = Kernel(*args, **options)
    assert kernel.compile(types).code == f"{kernel.made_of} {types}".encode()
    return kernel.counts["loaded"] == 1


def test_a_kernel_is_compiled_once(folder):
    assert [hit(), hit(), hit()] == [False, True, True]


def test_every_ingredient_distinguishes_kernels(folder, monkeypatch):
    assert not hit()
    assert not hit("make_scale(3,)")
    assert not hit(name="other")
    assert not hit(types=("f4", "f4"))
    assert not hit(types=("f4",))
    assert not hit(max_registers=32)
    assert not hit(max_registers=64)
    monkeypatch.setattr("numba.cuda.get_current_device", lambda: SimpleNamespace(compute_capability=(8, 0)))
    assert not hit()
    monkeypatch.setattr("numba.cuda.get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    monkeypatch.setattr(_cache, "toolchain", lambda: "other tools")
    assert not hit()
    monkeypatch.setattr(_cache, "toolchain", lambda: "these tools")
    assert hit()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_a_miss_and_is_replaced(folder, damage, caplog):
    hit()
    (path,) = folder.glob("*.entry")
    damage(path)
    assert [hit(), hit()] == [False, True]
    assert "ignored an unreadable cached kernel" in caplog.text


def test_kernels_refused_by_the_driver_are_compiled(folder, caplog):
    assert [hit("refused"), hit("refused")] == [False, False]
    assert "the GPU's driver refused a cached kernel" in caplog.text


def test_errors_of_the_gpu_are_not_hidden(folder, caplog):
    assert not hit("lost")
    with pytest.raises(RuntimeError, match="ILLEGAL_ADDRESS"):
        hit("lost")
    assert not caplog.records


def test_kernels_without_factory_or_for_one_launch_are_not_saved(folder):
    kernel = Kernel()
    kernel._cache.save_overload(("f4",), SimpleNamespace(code=b"", launch_config_sensitive=True))
    del kernel.made_of
    kernel._cache.save_overload(("f4",), SimpleNamespace(code=b""))
    assert kernel._cache.load_overload(("f4",), None) is None
    assert not list(folder.iterdir())


def test_kernels_compile_without_folder_and_toolchain(folder, monkeypatch, caplog):
    monkeypatch.setattr(_cache, "entries", lambda: Entries(Path("/dev/null/none")))
    assert not hit()
    assert "could not cache a compiled kernel" in caplog.text
    monkeypatch.setattr(_cache, "entries", lambda: None)
    assert not hit()

    def moved() -> str:
        raise AttributeError("no such name in numba-cuda")

    monkeypatch.setattr(_cache, "entries", lambda: Entries(folder))
    monkeypatch.setattr(_cache, "toolchain", moved)
    assert not hit()
    assert "are not cached (no such name in numba-cuda)" in caplog.text


def test_a_kernel_in_compilation_elsewhere_is_awaited_and_loaded(folder):
    hit()
    (path,) = folder.glob("*.entry")
    saved = path.read_bytes()
    path.unlink()
    kernel, found = Kernel(), []
    thread = threading.Thread(target=lambda: found.append(kernel.compile(("f4", "f8"))), daemon=True)
    key = kernel._cache.key(("f4", "f8"), (9, 0))
    with Entries(folder).lock(NAME, key):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        path.write_bytes(saved)
    thread.join()
    assert kernel.counts == {"loaded": 1}


def test_a_failed_compilation_leaves_no_lock(folder):
    kernel = Kernel()
    kernel.fails = True
    with pytest.raises(KeyboardInterrupt):
        kernel.compile(("f4",))
    with Entries(folder).lock(NAME, kernel._cache.key(("f4",), (9, 0))).acquire(timeout=0):
        pass


# The rest with the real compiler and linker.


@pytest.fixture(scope="module")
def real(root, tmp_path_factory):
    """Run processes of these sources, or of those in another folder, on an empty cache."""
    pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")
    pytest.importorskip("cuda.pathfinder", reason="needs CUDA's compiler: pip install 'numba-cuda[cu13]'")
    cache = tmp_path_factory.mktemp("cache")

    def run(*names, capability="9.0", sources=root):
        environment = {
            **os.environ,
            "NUMBA_ENABLE_CUDASIM": "0",
            "NUMBA_CACHE_DIR": str(cache),
            "PYTHONPATH": f"{sources}{os.pathsep}{root}",
        }
        command = [sys.executable, "-m", "tests.kernels.cuda.cached", capability, *names]
        done = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


def test_a_second_process_loads_the_same_machine_code(real):
    first, second = real("2,still", "3,still", "3,wait")[0], real("2,still", "3,still", "3,wait")[0]
    assert first["reported"] == {"compiled": 3, "loaded": 0}
    assert second["reported"] == {"compiled": 0, "loaded": 3}
    assert Path(first["folder"]).name == f"fastgd-{_cache.STAMP}"
    codes = [its["code"] for its in first["kernels"].values()]
    assert len(set(codes)) == 3
    assert [its["code"] for its in second["kernels"].values()] == codes
    # Loaded kernels also know whether their grid must be launched as a whole.
    for found in (first, second):
        assert [its["whole"] for its in found["kernels"].values()] == [False, False, True]


@pytest.mark.slow
def test_other_options_capabilities_and_sources_compile(real, root, tmp_path):
    assert real("4,still", "4,tight", "5,still")[0]["reported"] == {"compiled": 3, "loaded": 0}
    assert real("4,still", capability="8.0")[0]["reported"] == {"compiled": 1, "loaded": 0}
    if not (root / "fastgd" / "kernels").is_symlink():
        pytest.skip("this checkout has no symlinks")
    for name in ("fastgd", "kernels", "tests"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    assert real("4,still", sources=tmp_path)[0]["reported"] == {"compiled": 0, "loaded": 1}
    path = tmp_path / "kernels" / "cuda" / "loads.py"
    path.write_text(path.read_text() + "\n")
    assert real("4,still", sources=tmp_path)[0]["reported"] == {"compiled": 1, "loaded": 0}


@pytest.mark.slow
def test_a_damaged_file_is_recompiled(real):
    folder = Path(real("7,still")[0]["folder"])
    for path in folder.glob("*.entry"):
        flipped(path)
    found, reported = real("7,still")
    assert found["reported"] == {"compiled": 1, "loaded": 0}
    assert "ignored an unreadable cached kernel" in reported
    assert real("7,still")[0]["reported"] == {"compiled": 0, "loaded": 1}
