"""Measurements of files: what is written, sums of scans, the optimum over a file, and the memory of processes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cases import STREAM_CASES
from bench.optimum import find_optimum
from bench.stream import CASES, _sum_by_duckdb, _sum_by_groups, _sum_on_threads, main
from bench.stream_files import batches, excess, names_of, watch, write_csv, write_parquet
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Problem
from fastgd.data import as_source

SMALL = Problem("logistic", 150_000, 4)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "rows.parquet"
    write_parquet(SMALL, path)
    return path


def test_files_hold_the_rows_of_the_problem(path: Path, tmp_path: Path) -> None:
    data = SMALL.make()
    found = list(batches(path))
    assert len(found) > 2
    np.testing.assert_array_equal(np.concatenate([rows.X for rows in found]), data.X)
    np.testing.assert_array_equal(np.concatenate([rows.y for rows in found]), data.y)
    few = replace(SMALL, n=1000)
    write_csv(few, tmp_path / "rows.csv")
    source = as_source(tmp_path / "rows.csv")
    assert source is not None
    assert source.names == (*names_of(few), "y")
    X = np.empty((1000, 4), np.float32)
    next(iter(source.blocks(source.names))).numbers(names_of(few), X)
    np.testing.assert_array_equal(X, few.make().X)


def test_scans_add_up_every_column(path: Path) -> None:
    expected = SMALL.make().X.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(_sum_on_threads(path), expected, rtol=1e-9)
    np.testing.assert_allclose(_sum_by_groups(path), expected, rtol=1e-9)
    np.testing.assert_allclose(_sum_by_duckdb(f"'{path}'", names_of(SMALL))[0], expected, rtol=1e-9)


def test_the_optimum_over_a_file_is_that_of_its_rows(path: Path) -> None:
    objective = Objective(SMALL.make(), 1e-2)
    theta = np.array([0.1, -0.2, 0.0, 0.3, 0.05])
    found = excess(path, theta, 1e-2)
    np.testing.assert_allclose(found.value, objective.values(theta[None])[0], rtol=1e-10)
    np.testing.assert_allclose(found.optimum, find_optimum(objective).value, rtol=1e-9)


def test_the_memory_of_a_process_is_seen() -> None:
    size = 100_000_000
    used = watch([sys.executable, "-c", f"import time; held = bytearray(b'1') * {size}; time.sleep(0.3); print('end')"])
    assert size < used.peak_bytes < 2 * size
    assert used.output == "end\n"
    assert used.processor_seconds > 0.0
    with pytest.raises(RuntimeError, match="failed with 3"):
        watch([sys.executable, "-c", "raise SystemExit(3)"])


def test_cases_are_listed() -> None:
    assert set(CASES) == set(STREAM_CASES)
    with pytest.raises(SystemExit):
        main(["unknown"])
