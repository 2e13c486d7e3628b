"""Every public name says what it takes and returns, as numpydoc understands it."""

import inspect

import pytest

import fastgd
from fastgd import optimizers

# No docstring, no summary, a parameter that is left out or does not exist or has no type.
ERRORS = {"GL08", "SS01", "PR01", "PR02", "PR04"}
PROTOCOL = {"get_params", "set_params"}  # scikit-learn's, which says what they take


def public_names():
    """Return the dotted names of all public functions and classes and of the methods that fastgd defines for them."""
    objects = [getattr(fastgd, name) for name in fastgd.__all__]
    objects += [optimizers.GradientDescent, optimizers.Momentum, optimizers.Adam]
    for item in objects:
        if not (inspect.isclass(item) or inspect.isfunction(item)):
            continue
        name = f"{item.__module__}.{item.__name__}"
        yield name
        for method, member in inspect.getmembers(item, inspect.isfunction) if inspect.isclass(item) else []:
            if not method.startswith("_") and method not in PROTOCOL and member.__module__.startswith("fastgd"):
                yield f"{name}.{method}"


@pytest.mark.parametrize("name", sorted(set(public_names())))
def test_public_names_are_documented(name):
    validate = pytest.importorskip("numpydoc.validate", reason="numpydoc comes with the extra dev").validate
    assert [error for error in validate(name)["errors"] if error[0] in ERRORS] == []
