"""`fastgd fit` on a cluster of Dask."""

import json

import numpy as np
import pandas as pd
import pytest
from dask.distributed import LocalCluster

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed.*"),
]


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((2000, 4)), columns=list("abcd"))
    frame.assign(y=frame.to_numpy() @ [1.0, 2.0, 3.0, 4.0] + rng.standard_normal(2000)).to_csv(
        tmp_path / "rows.csv", index=False
    )
    return "rows.csv"


def test_a_scheduler_gives_the_result_of_this_machine(run, table):
    alone = json.loads(run("fit", table, "--target", "y", "--json").stdout)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**options, protocol="tcp") as cluster:
        found = run("fit", table, "--target", "y", "--json", "--scheduler", cluster.scheduler_address)
    result = json.loads(found.stdout)
    for mine, its in zip(result["coefficients"], alone["coefficients"], strict=True):
        assert mine["name"] == its["name"]
        np.testing.assert_allclose(mine["value"], its["value"], rtol=1e-9)
    assert "workers of a cluster" in result["fit"]["device_reason"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_are_started_here(run, table):
    assert "workers of a cluster" in run("fit", table, "--target", "y", "--json", "--workers", "2").stdout


def test_wrong_options_name_the_remedy(run, table):
    for words, message in (
        (("--workers", "2", "--scheduler", "tcp://localhost:1"), "leave out one of them"),
        (("--workers", "2", "--cache", "none"), "--workers does not go with --cache none"),
        (("--scheduler", "localhost"), "--scheduler localhost does not answer"),
    ):
        done = run("fit", table, "--target", "y", *words)
        assert done.returncode == 2
        assert message in done.stderr
