"""Docstrings of public names are complete, and their examples run."""

import doctest
import inspect
import re

import pytest
from numpydoc.validate import validate

import fastgd
from fastgd import LinearRegression, LogisticRegression, callbacks, exceptions, optimizers, plots, schedules
from fastgd._estimator import LinearModel
from fastgd.parameters import Parameters

#: numpydoc's checks that are held: docstrings and sections exist, stand in order, and name, type, describe and order
#: parameters as the signature has them; returned values are described, and there is an example. Left out are matters of
#: layout, of wording (a formula may begin with a lower-case symbol) and sections that are not always of use.
HELD = {"GL03", "GL05", "GL06", "GL07", "GL08", "GL09", "SS01", "SS04", "SS06"} | {
    *(f"PR0{k}" for k in (1, 2, 3, 4, 5, 6, 7)),
    *("PR10", "RT01", "RT03", "YD01", "EX01"),
}
CALLBACKS = ("EpochState", "StepState", "Callback", "StepCallback", "Iterates")
#: States that fits make, with fields documented as attributes, and protocols: users make none of them.
STATES = {"fastgd.plots.RateTest", *(f"fastgd.callbacks.{name}" for name in CALLBACKS[:4])}
#: Methods that fits call, not users; a page of the reference shows those of the base class.
INTERFACES = {"fastgd.optimizers.Optimizer", "fastgd.schedules.Schedule", "fastgd.callbacks.Callback"}


def public_objects():
    """Public functions and classes by name."""
    parts = [(fastgd, fastgd.__all__), (exceptions, [name for name in vars(exceptions) if not name.startswith("_")])]
    parts += [(part, part.__all__) for part in (optimizers, schedules, plots)] + [(callbacks, CALLBACKS)]
    objects = {f"{part.__name__}.{name}": getattr(part, name) for part, names in parts for name in names}
    return {name: value for name, value in objects.items() if callable(value)}


def public_methods():
    """The methods of estimators and interfaces that these define themselves or share, and the parameters of rules."""
    names = []
    for name, kind in public_objects().items():
        if name in INTERFACES or (inspect.isclass(kind) and issubclass(kind, LinearModel)):
            own = [method for part in kind.__mro__ if part.__module__.startswith("fastgd") for method in vars(part)]
            # scikit-learn documents the requests that it adds.
            found = [method for method in own if not method.startswith("_") and "request" not in method]
            names += [f"{name}.{method}" for method in found if inspect.isroutine(getattr(kind, method, None))]
        elif inspect.isclass(kind) and issubclass(kind, Parameters):
            names += [f"{name}.{method}" for method in ("get_params", "set_params")]
    return sorted(set(names))


@pytest.mark.parametrize("name", sorted(public_objects()) + public_methods())
def test_docstrings_are_complete(name):
    left_out = {"PR01"} if name in STATES else set()
    owner, _, method = name.rpartition(".")
    if owner in INTERFACES and method not in ("get_params", "set_params"):
        left_out = {"EX01"}
    errors = [f"{code}: {message}" for code, message in validate(name)["errors"] if code in HELD - left_out]
    assert errors == []


def test_what_is_public():
    """The lists above are not empty by mistake."""
    names = {*public_objects(), *public_methods()}
    for name in ("LinearRegression.fit", "LogisticRegression.predict_proba", "LinearRegression.save", "load"):
        assert f"fastgd.{name}" in names
    assert {"fastgd.optimizers.Adam", "fastgd.schedules.Schedule.rates", "fastgd.plots.plot_history"} <= names


@pytest.mark.parametrize("name", sorted(public_objects()))
def test_examples_run(name):
    examples = doctest.DocTestFinder().find(public_objects()[name], name, globs={})
    assert sum(len(example.examples) for example in examples) >= 1
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    for example in examples:
        assert runner.run(example).failed == 0


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("name", ["fit", "partial_fit", "predict"])
def test_signatures_are_short(kind, name):
    """As `help` shows them: names of types, not their definitions."""
    shown = str(inspect.signature(getattr(kind, name)))
    assert "X: 'ArrayLike" in shown
    assert "Union" not in shown


def test_every_key_of_a_report_is_documented():
    for key in fastgd.FitReport.__annotations__:
        assert re.search(rf"^    [\w, ]*\b{key}\b[\w, ]* : ", fastgd.FitReport.__doc__, re.MULTILINE)


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_shared_parts_are_filled_in(kind):
    for name in ("{shared}", "{fitted}", "{references}", "{rules}", "{solvers}"):
        assert name not in kind.__doc__
    for parameter in inspect.signature(kind).parameters:
        assert f"\n{parameter} : " in kind.__doc__
    for name in optimizers.BY_NAME:
        assert f'"{name}"' in kind.__doc__
