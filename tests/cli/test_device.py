"""``--device``, and what ``fastgd info`` says of the GPU."""

import json

HIDDEN = {"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""}


def test_where_no_gpu_is_to_be_seen(run_each, line_csv):
    fit = ("fit", line_csv, "--target", "y", "--device")
    refused, fitted, reported = run_each(
        (*fit, "cuda", "--save", "saved.model"), (*fit, "auto", "--json"), ("info", "--json"), **HIDDEN
    )
    assert refused.returncode == 2
    assert "the GPU cannot be used: " in refused.stderr
    assert "use --device cpu" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (line_csv.parent / "saved.model").exists()
    _check_device(fitted, "auto")
    facts = json.loads(reported.stdout)
    assert "NVIDIA driver" in facts["gpu"]
    assert "numba-cuda" in facts


def test_the_device_is_reported(call, line_csv):
    _check_device(call("fit", line_csv, "--target", "y", "--device", "cpu", "--json"), "cpu")


def _check_device(done, device):
    report = json.loads(done.stdout)["fit"]
    assert report["device"] == "cpu"
    assert f"device='{device}'" in report["device_reason"]
