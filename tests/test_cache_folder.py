"""The folder of compiled kernels: its place and name, and removal of folders of other sources."""

import os
import shutil
import time
from pathlib import Path

import pytest

from fastgd.kernels import _cache

posix = pytest.mark.skipif(os.name != "posix", reason="users, links and /dev of POSIX")


@posix
def test_the_cache_folder_is_the_first_that_can_be_written_to(tmp_path, monkeypatch):
    name = f"fastgd-{_cache.STAMP}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(_cache.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "own"))
    assert _cache.cache_folder() == tmp_path / "own" / name
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/dev/null/none")
    assert tmp_path / "user" in _cache.cache_folder().parents
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/none")
    assert _cache.cache_folder() == tmp_path / f"fastgd-{os.getuid()}" / name
    assert (_cache.cache_folder().stat().st_mode & 0o077) == 0


@posix
@pytest.mark.parametrize(
    ("system", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/own"}, "/own/fastgd"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/ada/.cache/fastgd"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "/home/ada/.cache/fastgd"),
        ("darwin", {}, "/home/ada/Library/Caches/fastgd"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fastgd/Cache"),
        ("win32", {}, "/home/ada/AppData/Local/fastgd/Cache"),
    ],
)
def test_the_users_folder_is_where_the_system_has_it(system, variables, folder, monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_cache.sys, "platform", system)
    assert _cache.user_folder() == Path(folder)


@posix
def test_without_a_home_the_temporary_folder_is_used(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(_cache, "user_folder", homeless)
    monkeypatch.setattr(_cache.tempfile, "tempdir", str(tmp_path))
    assert _cache.cache_folder().parent == tmp_path / f"fastgd-{os.getuid()}"


def test_the_kernels_of_a_device_have_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    stamp = _cache.source_stamp("cuda")
    assert _cache.cache_folder(stamp) == tmp_path / f"fastgd-{stamp}" != _cache.cache_folder()


@posix
def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    """It could contain machine code of other users."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(_cache.tempfile, "tempdir", str(tmp_path))
    assert _cache.cache_folder() is not None
    monkeypatch.setattr(_cache.os, "getuid", lambda: 12345)
    assert _cache.cache_folder() is None


DAY = 86400.0


@pytest.fixture
def others(tmp_path, monkeypatch):
    """Create folders of other sources, by name, with their age in days."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    made = {}
    for name, days in {"0" * 16: 29, "1" * 16: 31, "2" * 16: 400, "2" * 15: 400, "notes": 400}.items():
        folder = made[name] = tmp_path / f"fastgd-{name}"
        folder.mkdir()
        (folder / "kernel.nbi").write_bytes(b"")
        os.utime(folder, (time.time() - days * DAY,) * 2)
    return made


def test_unused_folders_are_removed_after_a_month(others):
    _cache.cache_folder()
    assert [name for name, folder in others.items() if not folder.exists()] == ["1" * 16, "2" * 16]


def test_they_are_left_alone_unless_sources_are_new(others, tmp_path):
    (tmp_path / f"fastgd-{_cache.STAMP}").mkdir()
    _cache.cache_folder()
    assert all(folder.exists() for folder in others.values())


def test_process_in_a_folder_keeps_it(others, monkeypatch):
    monkeypatch.setattr(_cache, "STAMP", "1" * 16)
    _cache.cache_folder()
    monkeypatch.setattr(_cache, "STAMP", "3" * 16)
    _cache.cache_folder()
    assert others["1" * 16].exists()
    assert not others["2" * 16].exists()


@posix
def test_no_folder_of_somebody_else_or_behind_a_link_is_removed(others, tmp_path, monkeypatch):
    own = _cache._is_own
    monkeypatch.setattr(_cache, "_is_own", lambda folder: folder != others["1" * 16] and own(folder))
    link = tmp_path / f"fastgd-{'4' * 16}"
    link.symlink_to(others["notes"])
    os.utime(link, (0.0, 0.0), follow_symlinks=False)
    _cache.cache_folder()
    assert others["1" * 16].exists()
    assert (link / "kernel.nbi").exists()
    assert not others["2" * 16].exists()


def test_undeletable_folders_are_ignored(others, monkeypatch):
    def fail(*_, **__):
        raise PermissionError("not this one")

    monkeypatch.setattr(_cache.os, "unlink", fail)
    monkeypatch.setattr(_cache.os, "rmdir", fail)
    assert _cache.cache_folder() is not None
    assert all(folder.exists() for folder in others.values())


@pytest.mark.parametrize(("device", "other"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_every_source_file_is_in_the_stamp(device, other, tmp_path, monkeypatch):
    """Except those of the other device."""
    whole = _cache.source_stamp(device)
    assert (whole == _cache.STAMP) == (device == "cpu")
    copy = tmp_path / "kernels"
    shutil.copytree(Path(_cache.__file__).resolve().parent, copy, ignore=shutil.ignore_patterns("__pycache__", other))
    monkeypatch.setattr(_cache, "__file__", str(copy / "_cache.py"))
    stamps = {_cache.source_stamp(device)}
    assert stamps == {whole}
    for path in sorted(copy.rglob("*.py")):
        path.write_text(path.read_text() + "\n")
        stamps.add(_cache.source_stamp(device))
    assert len(stamps) == 1 + len(list(copy.rglob("*.py")))
