"""Docstrings of public names are complete, and their examples run."""

import doctest
import inspect
import re

import pytest
from numpydoc.validate import validate

import fastgd
from fastgd import LinearRegression, LogisticRegression, exceptions, optimizers

#: numpydoc's checks that are held: docstrings and sections exist, stand in order, and name, type, describe and order
#: parameters as the signature has them. Left out are matters of layout, of wording (a formula may begin with a
#: lower-case symbol) and sections that are not always of use.
HELD = {"GL03", "GL05", "GL06", "GL07", "GL08", "GL09", "SS01", "SS04", "SS06"} | {
    *(f"PR0{k}" for k in (1, 2, 3, 4, 5, 6, 7)),
    *("PR10", "RT01", "YD01"),
}


def public_names():
    """Every public function and class, and the public methods that these define themselves or share."""
    names = [f"fastgd.{name}" for name in fastgd.__all__ if callable(getattr(fastgd, name))]
    names += [f"fastgd.exceptions.{name}" for name in vars(exceptions) if not name.startswith("_")]
    kinds = [getattr(fastgd.optimizers, name) for name in optimizers.__all__ if name != "Optimizer"]
    names += [f"fastgd.optimizers.{kind.__name__}" for kind in kinds]
    names += [f"fastgd.optimizers.{kind.__name__}.{verb}" for kind in kinds for verb in ("get_params", "set_params")]
    for kind in (fastgd.LinearRegression, fastgd.LogisticRegression):
        own = [name for part in kind.__mro__ if part.__module__.startswith("fastgd") for name in vars(part)]
        # scikit-learn documents the requests that it adds.
        methods = [name for name in own if not name.startswith("_") and "request" not in name]
        names += [f"fastgd.{kind.__name__}.{name}" for name in methods if inspect.isfunction(getattr(kind, name, None))]
    return sorted(set(names))


@pytest.mark.parametrize("name", public_names())
def test_docstrings_are_complete(name):
    errors = [f"{code}: {message}" for code, message in validate(name)["errors"] if code in HELD]
    assert errors == []


def test_what_is_public():
    """The list above is not empty by mistake."""
    names = public_names()
    for name in ("LinearRegression.fit", "LogisticRegression.predict_proba", "LinearRegression.save", "load"):
        assert f"fastgd.{name}" in names
    assert "fastgd.optimizers.Adam" in names


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_examples_run(kind):
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(kind, kind.__name__, globs={})
    assert len(example.examples) >= 4
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    assert runner.run(example).failed == 0


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("name", ["fit", "partial_fit", "predict"])
def test_signatures_are_short(kind, name):
    """As `help` shows them: names of types, not their definitions."""
    shown = str(inspect.signature(getattr(kind, name)))
    assert "X: 'ArrayLike'" in shown
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
