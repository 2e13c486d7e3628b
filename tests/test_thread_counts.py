"""The number of threads: limits of the machine and of control groups, and the user's number."""

import pytest

import fastgd
from fastgd import threads


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    """Keep the number of threads of other tests."""
    monkeypatch.setattr(threads, "_chosen", None)


def limits(monkeypatch, affinity: int, quota: int | None, asked: str | None) -> None:
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: quota)
    if asked is None:
        monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("NUMBA_NUM_THREADS", asked)


@pytest.mark.parametrize(
    ("affinity", "quota", "asked", "expected"),
    [(8, None, None, 8), (8, 3, None, 3), (2, 3, None, 2), (8, 6, "4", 4), (8, None, "16", 8), (8, None, "x", 8)],
)
def test_available_threads_are_the_least_of_all_limits(monkeypatch, affinity, quota, asked, expected):
    limits(monkeypatch, affinity, quota, asked)
    assert threads.available_threads() == expected
    assert fastgd.get_num_threads() == expected


def test_without_affinity_all_processors_are_available(monkeypatch):
    """As on macOS and Windows."""
    limits(monkeypatch, 1, None, None)
    monkeypatch.delattr(threads.os, "sched_getaffinity")
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 6)
    assert threads.available_threads() == 6


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"}, 4),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_quota_of_both_kinds_of_control_groups(monkeypatch, tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / "cpu" / name).write_text(text)
    monkeypatch.setattr(threads, "Path", lambda path: tmp_path / path.removeprefix("/sys/fs/cgroup").lstrip("/"))
    assert threads._quota.__wrapped__() == expected


def test_the_number_of_threads_can_be_set_and_unset(monkeypatch):
    limits(monkeypatch, 2, None, None)
    fastgd.set_num_threads(5)
    assert fastgd.get_num_threads() == 5
    fastgd.set_num_threads(None)
    assert fastgd.get_num_threads() == 2


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True])
def test_wrong_numbers_of_threads_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"n must be an integer from 1 to 1024 or None, got"):
        fastgd.set_num_threads(bad)
    with pytest.raises(ValueError, match="n_threads"):
        threads.check_threads(bad, "n_threads")
