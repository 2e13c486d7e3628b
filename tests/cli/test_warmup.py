"""After ``fastgd warmup`` the usual fits compile nothing."""

import json
import subprocess

import numpy as np
import pytest

from fastgd.backends import devices
from fastgd.cli import warmup
from fastgd.cli.errors import InputError

FITS = (
    "",
    "--alpha 0.1 --l1-ratio 0.5",
    "--optimizer adam --epochs 2",
    "--optimizer gd --epochs 2 --early-stopping",
    "--optimizer saga --epochs 2 --batch-size 1",
    "--optimizer nesterov:form=lookahead --epochs 2 --batch-size full",
    "--optimizer adam --epochs 2 --batch-size full",
    "--optimizer gd:line_search=exact --epochs 2",
    "--optimizer gd:line_search=backtracking --epochs 2 --alpha 0.1 --l1-ratio 1",
    "--optimizer accelerated --epochs 2",
    "--optimizer sketched_newton:sample_rows=1000",
    "--optimizer lbfgs --alpha 0.1",
)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # it compiles some fifty kernels
def test_after_a_warmup_nothing_is_compiled(command, environment, tmp_path):
    environment = {**environment, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    rng = np.random.default_rng(0)
    X = rng.normal(50, 1, (3000, 5))
    np.savez(tmp_path / "classes.npz", X=X, y=rng.integers(0, 3, 3000))
    np.savez(tmp_path / "numbers.npz", X=np.asfortranarray(X, np.float32), y=X.sum(axis=1))

    def run(*words):
        done = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, check=True)
        return done.stdout

    def compiled():
        return {path.name for path in (tmp_path / "cache").rglob("*.entry")}

    assert b"are ready" in run("warmup")
    before = compiled()
    assert len(before) > 20
    for source in ("classes.npz", "numbers.npz"):
        for words in FITS:
            assert json.loads(run("fit", source, "--json", *words.split()))["rows"] == 3000
    assert compiled() == before


def test_problems_are_of_the_columns_and_the_device_asked_for():
    asked = list(warmup._problems("cuda", (2, 3)))
    assert {X.shape[1] for _, _, X, _ in asked} == {2, 3}
    assert {model.device for _, model, _, _ in asked} == {"cuda"}
    on_cpu = list(warmup._problems("cpu", (2,)))
    assert {model.device for _, model, _, _ in on_cpu} == {"cpu"}
    assert len(asked) == 2 * len(on_cpu)
    _, _, wide, _ = next(warmup._problems("cuda", (100_000,)))
    assert wide.nbytes < 1 << 30


def test_kernels_of_the_gpu_are_named(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(warmup, "_problems", lambda *its: asked.append(its) or iter(()))
    found = {"compiled": ["gradient", "fold", "gradient"], "loaded": []}
    monkeypatch.setattr(devices, "gpu_kernels", lambda: found)
    warmup.warmup("cuda", ())
    warmup.warmup("cuda", (7, 9))
    warmup.warmup("cpu", ())
    told = capsys.readouterr().out.splitlines()
    assert asked == [("cuda", (100,)), ("cuda", (7, 9)), ("cpu", (4,))]
    assert [line for line in told if "are ready" not in line] == ["compiled: fold, gradient x 2"] * 2
    with pytest.raises(InputError, match="--cols"):
        warmup.warmup("cpu", (7,))
