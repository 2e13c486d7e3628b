"""``--device``, and what ``fastgd info`` says of the GPU."""

import json
import subprocess

import pytest


@pytest.fixture
def without_gpu(command, environment, tmp_path):
    """Return a function that runs the command where no GPU is to be seen."""
    hidden = {**environment, "NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""}

    def run(*words):
        words = [*command, *map(str, words)]
        return subprocess.run(words, cwd=tmp_path, env=hidden, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_a_gpu_that_is_not_there(without_gpu, line_csv):
    done = without_gpu("fit", line_csv, "--target", "y", "--device", "cuda", "--save", "saved.model")
    assert done.returncode == 2
    assert "the GPU cannot be used: " in done.stderr
    assert "use --device cpu" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (line_csv.parent / "saved.model").exists()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_device_is_told(without_gpu, line_csv, device):
    done = without_gpu("fit", line_csv, "--target", "y", "--device", device, "--json")
    report = json.loads(done.stdout)["fit"]
    assert report["device"] == "cpu"
    assert f"device='{device}'" in report["device_reason"]


def test_info_says_what_is_missing(without_gpu):
    facts = json.loads(without_gpu("info", "--json").stdout)
    assert "NVIDIA driver" in facts["gpu"]
    assert "numba-cuda" in facts
