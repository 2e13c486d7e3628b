"""``fastgd warmup``: which kernels it compiles, its progress, and that later fits compile nothing."""

import json
import subprocess

import numpy as np
import pytest

from fastgd.backends import select
from fastgd.cli import warmup
from fastgd.cli.errors import InputError
from fastgd.cli.options import WarmupOptions
from fastgd.cli.warmup import Kind, kinds

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
@pytest.mark.timeout(1800)  # it compiles some fifty kernels
@pytest.mark.parametrize(("words", "fits", "dtype"), [(("--all",), FITS, "f4"), ((), FITS[:2], "f8")])
def test_after_a_warmup_nothing_is_compiled(command, environment, tmp_path, words, fits, dtype):
    environment = {**environment, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    rng = np.random.default_rng(0)
    X = rng.normal(50, 1, (3000, 5))
    np.savez(tmp_path / "classes.npz", X=X, y=rng.integers(0, 3, 3000))
    np.savez(tmp_path / "two.npz", X=X, y=rng.integers(0, 2, 3000))
    np.savez(tmp_path / "numbers.npz", X=np.require(X, dtype, "F" if words else "C"), y=X.sum(axis=1))

    def run(*words):
        done = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, check=True)
        return done.stdout

    def compiled():
        return {path.name for path in (tmp_path / "cache").rglob("*.entry")}

    assert b"ready in" in run("warmup", *words)
    before = compiled()
    assert len(before) > (20 if words else 5)
    for source in ("classes.npz", "two.npz", "numbers.npz"):
        for fit in fits:
            assert json.loads(run("fit", source, "--json", *fit.split()))["rows"] == 3000
    assert compiled() == before


def test_default_kinds():
    usual = [Kind(loss, "float64", "C", "auto") for loss in ("squared", "logistic", "softmax")]
    assert kinds(WarmupOptions()) == [*usual, Kind("logistic", "float64", "C", "auto", l1=True)]


def test_kinds_by_options():
    asked = WarmupOptions(loss=("huber",), dtype=("float32", "float64"), steps=("batches",))
    assert kinds(asked) == [Kind("huber", dtype, "C", "batches") for dtype in ("float32", "float64")]
    assert len(kinds(WarmupOptions(everything=True))) == 4 * 3 * 2 * 3 + 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cols": (7,)}, "--cols: kernels of the CPU"),
        ({"loss": ("hinge",)}, "--loss hinge is not one of squared, huber, logistic, softmax"),
        ({"dtype": ("float16",)}, "--dtype float16 is not one of float64, float32"),
        ({"order": ("c",)}, "--order c is not one of C, F"),
        ({"steps": ("sgd",)}, "--steps sgd is not one of auto, batches, full"),
        ({"everything": True, "order": ("F",)}, "--all compiles every kernel"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(InputError, match=message):
        WarmupOptions(**given).check()


def test_problems_need_the_kernels_of_their_kind():
    model, X, y = warmup._example(Kind("huber", "float32", "F", "full", far=True), 3)
    assert (model.loss, model.optimizer, model.batch_size) == ("huber", "momentum", "full")
    assert (X.dtype, X.flags.f_contiguous, X.shape[1], len(X)) == (np.float32, True, 3, len(y))
    assert X.mean() > 50
    model, X, y = warmup._example(Kind("softmax", "float64", "C", "auto", l1=True), 20_000)
    assert X.nbytes < 1 << 28
    assert (X.flags.c_contiguous, len(np.unique(y)), model.l1_ratio) == (True, 3, 0.5)


def test_progress_without_a_terminal(call):
    done = call("warmup", "--loss", "squared")
    assert done.returncode == 0
    assert done.stderr.startswith("1 of 1: squared, float64, C order (")
    assert done.stdout.startswith("1 kind of fit ready in ")


def test_kernels_of_the_gpu_are_named(monkeypatch, capsys):
    asked = []

    class Model:
        def set_params(self, device):
            self.device = device

        def fit(self, X, y):
            asked.append((self.device, X))

    monkeypatch.setattr(warmup, "_example", lambda kind, d: (Model(), d, None))
    monkeypatch.setattr(select, "gpu_kernels", lambda: {"compiled": ["gradient", "fold", "gradient"], "loaded": []})
    warmup.warmup(WarmupOptions(device="cuda", loss=("squared",)))
    warmup.warmup(WarmupOptions(device="cuda", loss=("squared",), cols=(7, 9)))
    warmup.warmup(WarmupOptions(loss=("squared",)))
    out, err = capsys.readouterr()
    assert asked == [("cuda", 100), ("cuda", 7), ("cuda", 9), ("cpu", 4)]
    assert [line for line in out.splitlines() if "ready in" not in line] == ["compiled: fold, gradient x 2"] * 2
    assert "2 of 2: squared, float64, C order, 9 columns (" in err
