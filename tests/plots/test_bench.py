"""Pictures of benchmarks hold the numbers of the files."""

import json

import numpy as np
import pytest

from fastgd.plots import plot_bench


def finding(what, ratio, **more):
    spread = {"median": ratio, "min": ratio, "max": ratio}
    return {"what": what, "against": "glum irls (2 threads), 9 ms", "kind": "times", "ratio": spread, **more}


def line(job, who, device, seconds, nbytes=None, intensity=0.0):
    return {
        "job": job,
        "who": who,
        "device": device,
        "seconds": seconds,
        "nbytes": nbytes,
        "intensity": intensity,
    }


REPORT = {
    "data": "logistic, 1,000 x 10",
    "devices": {"cpu": "CPU", "cuda": "GPU"},
    "lines": [
        line("read X", "fastgd", "cpu", [0.1, 0.1], 10**10),
        line("full pass", "fastgd", "cpu", [0.2, 0.1, 0.4], 10**10, 2.0),
        line("full pass", "PyTorch", "cpu", [0.8], 10**10),
        line("copy to the GPU", "fastgd", "cuda", [0.05], 10**10),
        line("full pass", "fastgd", "cuda", [0.1], 10**10, 2.0),
    ],
}


def test_races_from_files(tmp_path):
    target = ", fit to 0.0001 of the optimum"
    one = {"findings": [finding(f"ridge{target}", 0.5), finding(f"lasso{target}", 3.0), finding("ridge, pass", 9.0)]}
    other = {"findings": [finding(f"hidden{target}", 8.0, in_table=False), finding(f"cost{target}", 2.0, kind="cost")]}
    for name, content in (("a", one), ("b", other), ("c", {"rows": 3})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (axes,) = plot_bench(tmp_path, title="races")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lasso", "ridge"]
    assert [text.get_text() for text in axes.texts] == ["3.0x glum irls", "0.50x glum irls"]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(ends, [3.0, 0.5])
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    assert [bar.get_hatch() for bar in axes.patches] == ["", "///"]
    (same,) = plot_bench([one, other], target=", pass")
    assert [label.get_text() for label in same.get_yticklabels()] == ["ridge"]


def test_jobs_and_roofline_of_a_report():
    jobs, roof = plot_bench(REPORT)
    assert [label.get_text() for label in jobs.get_yticklabels()] == [
        "full pass\nfastgd, cpu",
        "full pass\nfastgd, cuda",
        "full pass\nPyTorch, cpu",
    ]
    assert [bar.get_width() for bar in jobs.patches] == [0.2, 0.1, 0.8]
    assert len({bar.get_facecolor() for bar in jobs.patches}) == 3
    curves = {one.get_label(): one.get_xydata() for one in roof.lines}
    np.testing.assert_allclose(curves["cpu: memory, 100 GB/s"], [[0.2, 20.0], [20.0, 2000.0]])
    np.testing.assert_allclose(curves["cpu: full pass"], [[2.0, 100.0]])  # 50 GB/s and 2 operations per byte
    assert "cuda: copies, 200 GB/s" in curves
    assert jobs.figure.get_suptitle() == REPORT["data"]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "one result or more"),
        (3, "must be a path, a mapping or a sequence"),
        ({"rows": 3}, "results must be of fastgd bench"),
        ({"findings": []}, "no comparison of a fit"),
        ([REPORT, REPORT], "several reports"),
    ],
)
def test_invalid_results(results, message):
    with pytest.raises(ValueError, match=message):
        plot_bench(results)
