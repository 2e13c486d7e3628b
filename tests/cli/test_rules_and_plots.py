"""Rules, schedules, early stopping and plots through the real command."""

import json
import os
import subprocess
import warnings

import numpy as np
import pytest

from fastgd import LinearRegression
from fastgd import optimizers as o
from fastgd import schedules as s
from fastgd.cli.fit import draw

FITS = {
    "nesterov:momentum=0.8,form=lookahead --schedule step:every=2,factor=0.1 --learning-rate 0.05": o.Nesterov(
        s.StepDecay(0.05, factor=0.1, every=2), momentum=0.8, form="lookahead"
    ),
    "gd:average=true --schedule warmup:epochs=1,then=cosine": o.GradientDescent(
        s.WarmUp(1, then=s.CosineDecay()), average=True
    ),
    "gd:line_search=backtracking": o.GradientDescent(line_search="backtracking"),
    "adamw:weight_decay=0.1 --learning-rate 0.01": o.AdamW(0.01, weight_decay=0.1),
    "saga": o.SAGA(),
    "accelerated": o.Accelerated(),
    "lbfgs:memory=3": o.LBFGS(3),
    "sketched_newton": o.SketchedNewton(),
    "normal_equations": o.NormalEquations(),
}


@pytest.fixture
def noisy(tmp_path):
    """Return X (120, 30) and y, more noise than line; they are in noisy.npz, too."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 30))
    y = X[:, 0] + 2 * rng.normal(size=120)
    np.savez(tmp_path / "noisy.npz", X=X, y=y)
    return X, y


def facts(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fitted(X, y, **parameters):
    """Return what Python fits; a few epochs need not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LinearRegression(random_state=0, **parameters).fit(X, y)


def coefficients(reported):
    found = {entry["name"]: entry["value"] for entry in reported["coefficients"]}
    return [found[name] for name in sorted(found, key=lambda name: int(name.rpartition("_")[2]))]


@pytest.mark.parametrize("words", FITS)
def test_the_command_fits_what_python_fits(call, noisy, words):
    reported = facts(call("fit", "noisy.npz", "--holdout", 0, "--epochs", 5, "--json", "--optimizer", *words.split()))
    model = fitted(*noisy, optimizer=FITS[words], max_iter=5)
    assert coefficients(reported) == model.coef_.tolist()
    rates = model.history_["learning_rate"]
    assert reported["learning_rate"] == {"first": rates[0], "last": rates[-1]}
    asked = words.split()
    assert reported["schedule"] == (asked[asked.index("--schedule") + 1] if "--schedule" in asked else None)
    assert reported["early_stopping"] is None


def test_early_stopping_and_its_page(call, tmp_path, noisy):
    words = ("--optimizer", "momentum", "--schedule", "inverse:decay=0.1", "--batch-size", 16)
    words += ("--early-stopping", "--validation-fraction", 0.3, "--patience", 2, "--holdout", 0)
    reported = facts(call("fit", "noisy.npz", *words, "--save", "n.model", "--plot", "n.png", "--json"))
    model = fitted(
        *noisy,
        optimizer=o.Momentum(s.InverseTimeDecay(decay=0.1)),
        batch_size=16,
        early_stopping=True,
        validation_fraction=0.3,
        n_iter_no_change=2,
    )
    losses = model.history_["validation_loss"].tolist()
    assert reported["fit"]["stopped_by"] == "early stopping"
    assert reported["epochs"] == len(losses) < 50
    best = losses.index(min(losses))
    assert reported["early_stopping"] == {
        "stopped": True,
        "best_epoch": best + 1,
        "best_loss": losses[best],
        "last_loss": losses[-1],
    }
    assert losses[best] < losses[-1]
    assert coefficients(reported) == model.coef_.tolist()
    assert (reported["saved"], reported["plotted"]) == ("n.model", "n.png")
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.model", "n.png", "noisy.npz"]

    page = call("fit", "noisy.npz", *words, "--plot", "n.pdf")
    assert page.returncode == 0, page.stderr
    first, last = model.history_["learning_rate"][[0, -1]]
    lines, label = {}, ""
    for line in page.stdout.splitlines():
        label = line[:13].strip() or label
        lines[label] = f"{lines.get(label, '')} {line[13:].strip()}".strip()
    rates = f"learning rate {first:.3g} in the first epoch, {last:.3g} in the last"
    assert lines["schedule"] == f"inverse:decay=0.1: {rates}"
    assert lines["validation"] == (
        f"early stopping after epoch {len(losses)}, the model is that of epoch {best + 1}: "
        f"loss {losses[best]:.5g} there, {losses[-1]:.5g} in the last epoch"
    )
    assert lines["converged"].startswith("yes, the validation loss has stopped falling (largest gradient ")
    assert lines["plotted"] == "n.pdf"
    assert call("predict", "n.model", "noisy.npz", "-o", "out.csv").returncode == 0


def test_a_fit_that_early_stopping_does_not_end(call, noisy):
    reported = facts(call("fit", "noisy.npz", "--early-stopping", "--optimizer", "gd", "--epochs", 2, "--json"))
    assert reported["epochs"] == 2
    assert reported["early_stopping"]["stopped"] is False
    page = call("fit", "noisy.npz", "--early-stopping", "--optimizer", "gd", "--epochs", 2)
    assert "no early stopping, the model is that of epoch" in " ".join(page.stdout.split())
    assert "--tol 0.0001): allow more --epochs" in " ".join(page.stdout.split())
    assert "--epochs reached after 2 epochs" in page.stderr


def test_a_fit_whose_time_is_up(call, noisy):
    words = ("fit", "noisy.npz", "--optimizer", "gd", "--max-seconds", 1e-9)
    reported = facts(call(*words, "--json"))
    assert (reported["fit"]["stopped_by"], reported["epochs"]) == ("max_seconds", 1)
    page = call(*words)
    assert "--tol 0.0001): allow more --max-seconds" in " ".join(page.stdout.split())
    assert "--max-seconds reached after 1 epoch at" in page.stderr


def test_the_plot_is_of_the_fit(tmp_path, noisy):
    model = fitted(*noisy, optimizer="adam", max_iter=3, tol=0)
    draw(model, "a$b$", tmp_path / "loss.svg")
    text = (tmp_path / "loss.svg").read_text()
    assert "a$b$: Adam, batches of 256" in text  # as a comment, letters being drawn as shapes
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".svg"] == ["loss.svg"]


def test_without_matplotlib_nothing_is_read(command, environment, tmp_path):
    """The source does not exist either, but is not looked for."""
    package = tmp_path / "without" / "matplotlib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('no matplotlib', name='matplotlib')\n")
    path = os.pathsep.join([str(package.parent), environment["PYTHONPATH"]])
    done = subprocess.run(
        [*command, "fit", "nothing.csv", "--target", "y", "--plot", "loss.png"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "fastgd: error: --plot: plots need matplotlib: pip install '.[plot]' in the checkout\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["without"]
