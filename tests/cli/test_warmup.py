"""After ``fastgd warmup`` the usual fits compile nothing."""

import json
import subprocess

import numpy as np
import pytest

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
        return {path.name for path in (tmp_path / "cache").rglob("*.nbc")}

    assert b"are ready" in run("warmup")
    before = compiled()
    assert len(before) > 20
    for source in ("classes.npz", "numbers.npz"):
        for words in FITS:
            assert json.loads(run("fit", source, "--json", *words.split()))["rows"] == 3000
    assert compiled() == before
