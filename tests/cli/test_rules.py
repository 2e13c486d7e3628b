"""Optimizers, schedules, early stopping and plots through the command, against the same objects made in Python."""

import os
import subprocess
import warnings

import numpy as np
import pytest

from fastgd import LinearRegression
from fastgd import optimizers as o
from fastgd import schedules as s
from fastgd.cli.errors import InputError
from fastgd.cli.fit import draw
from fastgd.cli.rules import RATES, read_optimizer, read_schedule, read_value, split_spelling
from tests.cli.conftest import coefficients, page_lines

OPTIMIZERS = {
    "auto": None,
    "gd": o.GradientDescent(0.5),
    "gd:line_search=backtracking": o.GradientDescent(0.5, line_search="backtracking"),
    "gd:line_search=none,average=1000": o.GradientDescent(0.5, average=1000),
    "gd:average=true": o.GradientDescent(0.5, average=True),
    "momentum:momentum=0": o.Momentum(0.5, momentum=0),
    "nesterov:momentum=0.95,form=lookahead": o.Nesterov(0.5, momentum=0.95, form="lookahead"),
    " nesterov : form = bengio ": o.Nesterov(0.5),
    "adagrad:eps=1e-7": o.AdaGrad(0.5, eps=1e-7),
    "rmsprop:decay=.99": o.RMSProp(0.5, decay=0.99),
    "adam:beta1=0.8,beta2=0.9,eps=1e-3": o.Adam(0.5, 0.8, 0.9, 1e-3),
    "amsgrad": o.AMSGrad(0.5),
    "nadam:momentum_decay=0": o.Nadam(0.5, momentum_decay=0),
    "adadelta": o.AdaDelta(0.5),
    "adamw:weight_decay=0.1": o.AdamW(0.5, weight_decay=0.1),
    "saga": o.SAGA(0.5),
    "accelerated": o.Accelerated(),
    "sketched_newton:sample_rows=1000,memory=0": o.SketchedNewton(sample_rows=1000, memory=0),
    "sketched_newton:sample_rows=auto": o.SketchedNewton(),
    "normal_equations": o.NormalEquations(),
    "lbfgs:memory=5": o.LBFGS(memory=5),
}

SCHEDULES = {
    "constant": s.Constant(0.5),
    "step:every=3": s.StepDecay(0.5, every=3),
    "step:factor=0.1,every=2.5": s.StepDecay(0.5, factor=0.1, every=2.5),
    "exponential:factor=0.9": s.ExponentialDecay(0.5, 0.9),
    "inverse:decay=2,power=0.6": s.InverseTimeDecay(0.5, 2, 0.6),
    "polynomial:epochs=NONE": s.PolynomialDecay(0.5),
    "cosine:restart_every=4,growth=2,final=1e-3": s.CosineDecay(0.5, final=1e-3, restart_every=4, growth=2),
    "onecycle:rise=0.2": s.OneCycle(0.5, rise=0.2),
    "plateau:patience=1,cooldown=2": s.ReduceOnPlateau(0.5, patience=1, cooldown=2),
    "warmup": s.WarmUp(then=0.5),
    "warmup:epochs=2,then=cosine": s.WarmUp(2, then=s.CosineDecay(0.5)),
    "warmup:then=cosine,epochs=2": s.WarmUp(2, then=s.CosineDecay(0.5)),
    "warmup:epochs=2,then=step:every=5,factor=0.1": s.WarmUp(2, then=s.StepDecay(0.5, factor=0.1, every=5)),
}


def name_of(text):
    return text.partition(":")[0].strip()


@pytest.mark.parametrize("text", OPTIMIZERS)
def test_optimizers(text):
    assert read_optimizer(text, 0.5) == OPTIMIZERS[text]


@pytest.mark.parametrize("text", SCHEDULES)
def test_schedules(text):
    assert read_schedule(text, 0.5) == SCHEDULES[text]
    assert read_schedule(text, "auto").automatic


def test_tables_name_every_rule():
    assert {name_of(text) for text in OPTIMIZERS} == {"auto", *o.BY_NAME}
    assert {name_of(text) for text in SCHEDULES} == set(s.BY_NAME)


def test_rates_have_an_option_of_their_own():
    assert {kind.first for kind in s.BY_NAME.values()} - {"then"} < set(RATES)
    schedule = s.StepDecay(0.1)
    assert read_optimizer("adam", schedule).learning_rate is schedule


def test_values():
    words = {"true": True, "False": False, "none": None, "full": "full", "3x": "3x"}
    numbers = {"3": 3, "-2": -2, "1e3": 1000, "0.5": 0.5, "1e300": 1e300, "inf": float("inf")}
    for text, value in (words | numbers).items():
        assert read_value(text) == value
        assert type(read_value(text)) is type(value)


def test_a_value_with_a_colon_takes_the_rest():
    assert split_spelling("a:b=1,c=d:e=2,f=g:h=3", "") == ("a", {"b": "1", "c": "d:e=2,f=g:h=3"})
    assert split_spelling("a", "") == ("a", {})


WRONG_OPTIMIZERS = {
    "sgd": "--optimizer: there is no 'sgd'; there are auto, gd, .*, lbfgs: .* is --optimizer gd --batch-size 1$",
    "": "there is no ''",
    "Adam": "there is no 'Adam'",
    "nesterov:mu=0.9": "--optimizer nesterov: there is no key 'mu'; there are momentum, form$",
    "adam:learning_rate=0.1": "learning_rate is given by --learning-rate",
    "saga:eps=1": "saga: there is no key 'eps'; it has none",
    "accelerated:eps=1": "it has none",
    "normal_equations:memory=5": "it has none",
    "lbfgs:sample_rows=5": "lbfgs: there is no key 'sample_rows'; there are memory$",
    "lbfgs:memory=0": "memory of LBFGS must be an integer of 1 or more, got 0",
    "sketched_newton:sample_rows=some": "SketchedNewton must be 'auto' or a positive integer, got 'some'",
    "auto:eps=1": "--optimizer auto: there is no key 'eps'; it has none",
    "adam:beta1": "'beta1' is not key=value, as in adam:key=value,key=value",
    "adam:": "'' is not key=value",
    "adam:beta1=0.5,": "'' is not key=value",
    "adam:beta1=": "'beta1=' is not key=value",
    "adam:=0.5": "'=0.5' is not key=value",
    "adam:eps=1,eps=2": "eps is given twice",
    "adam:beta1=1": r"--optimizer adam: beta1 of Adam must be a number in \[0, 1\), got 1$",
    "adam:beta1=half": "got 'half'",
    "adam:beta1=0.5:eps=1": "got '0.5:eps=1'",
    "adam:eps=nan": "eps of Adam must be",
    "gd:average=2.5": "average of GradientDescent must be True, False or a positive integer, got 2.5",
    "gd:line_search=wolfe": "None, 'backtracking' or 'exact', got 'wolfe'",
    "gd:line_search=exact,average=true": "must be False with line_search='exact'",
    "nesterov:form=other": "'bengio', 'lookahead' or 'torch', got 'other'",
}

WRONG_SCHEDULES = {
    "steps": "--schedule: there is no 'steps'; there are constant, step, .*, warmup, plateau; did you mean 'step'",
    "step:each=3": "--schedule step: there is no key 'each'; there are factor, every$",
    "step:initial=3": "initial is given by --learning-rate",
    "onecycle:peak=3": "peak is given by --learning-rate",
    "warmup:length=3": "there is no key 'length'; there are epochs, then, start_factor",
    "warmup:then=0.1": "--schedule warmup then: there is no '0.1'; there are constant",
    "warmup:then=step:every=5,start_factor=0.1": "--schedule warmup then step: there is no key 'start_factor'",
    "warmup:then=step:every=0": "--schedule warmup then step: every of StepDecay must be a positive number, got 0",
    "step:every=-1": "every of StepDecay must be a positive number, got -1",
    "step:every=ten": "got 'ten'",
    "step:every=inf": "got inf",
    "plateau:patience=1.5": "patience of ReduceOnPlateau must be an integer of 0 or more, got 1.5",
    "cosine:final=3": "final of CosineDecay must be at most initial=0.5, got 3",
}


@pytest.mark.parametrize("text", WRONG_OPTIMIZERS)
def test_wrong_optimizers(text):
    with pytest.raises(InputError, match=WRONG_OPTIMIZERS[text]):
        read_optimizer(text, 0.5)


@pytest.mark.parametrize("text", WRONG_SCHEDULES)
def test_wrong_schedules(text):
    with pytest.raises(InputError, match=WRONG_SCHEDULES[text]):
        read_schedule(text, 0.5)


def test_line_searches_refuse_schedules():
    with pytest.raises(InputError, match="--optimizer gd: learning_rate of GradientDescent must be 'auto' or a number"):
        read_optimizer("gd:line_search=exact", s.StepDecay())


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


def fitted(X, y, **parameters):
    """Return what Python fits; a few epochs need not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LinearRegression(random_state=0, **parameters).fit(X, y)


@pytest.mark.parametrize("words", FITS)
def test_the_command_fits_like_python(call, noisy, words):
    reported = call("fit", "noisy.npz", "--holdout", 0, "--epochs", 5, "--json", "--optimizer", *words.split()).facts()
    model = fitted(*noisy, optimizer=FITS[words], max_iter=5)
    assert coefficients(reported) == {f"column_{j + 1}": value for j, value in enumerate(model.coef_.tolist())}
    rates = model.history_["learning_rate"]
    assert reported["learning_rate"] == {"first": rates[0], "last": rates[-1]}
    asked = words.split()
    assert reported["schedule"] == (asked[asked.index("--schedule") + 1] if "--schedule" in asked else None)
    assert reported["early_stopping"] is None


def test_early_stopping_and_its_page(call, tmp_path, noisy):
    words = ("--optimizer", "momentum", "--schedule", "inverse:decay=0.1", "--batch-size", 16)
    words += ("--early-stopping", "--validation-fraction", 0.3, "--patience", 2, "--holdout", 0)
    reported = call("fit", "noisy.npz", *words, "--save", "n.model", "--plot", "n.png", "--json").facts()
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
    assert coefficients(reported) == {f"column_{j + 1}": value for j, value in enumerate(model.coef_.tolist())}
    assert (reported["saved"], reported["plotted"]) == ("n.model", "n.png")
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.model", "n.png", "noisy.npz"]

    page = call("fit", "noisy.npz", *words, "--plot", "n.pdf")
    assert page.returncode == 0, page.stderr
    first, last = model.history_["learning_rate"][[0, -1]]
    lines = page_lines(page.stdout)
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
    words = ("fit", "noisy.npz", "--early-stopping", "--optimizer", "gd", "--epochs", 2)
    reported = call(*words, "--json").facts()
    assert reported["epochs"] == 2
    assert reported["early_stopping"]["stopped"] is False
    page = call(*words)
    assert "no early stopping, the model is that of epoch" in " ".join(page.stdout.split())
    assert "--tol 0.0001): allow more --epochs" in " ".join(page.stdout.split())
    assert "--epochs reached after 2 epochs" in page.stderr


def test_max_seconds_ends_a_fit(call, noisy):
    words = ("fit", "noisy.npz", "--optimizer", "gd", "--max-seconds", 1e-9)
    reported = call(*words, "--json").facts()
    assert (reported["fit"]["stopped_by"], reported["epochs"]) == ("max_seconds", 1)
    page = call(*words)
    assert "--tol 0.0001): allow more --max-seconds" in " ".join(page.stdout.split())
    assert "--max-seconds reached after 1 epoch at" in page.stderr


def test_plot_of_a_fit(tmp_path, noisy):
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
