"""A pytest plugin: substitute the adapters before tests are imported, and note each outcome."""

import sys

import pytest
from sklearn import linear_model

from tests.sklearn_suite import adapters

for _adapter in adapters.ADAPTERS:
    setattr(linear_model, _adapter.__name__, _adapter)

#: Outcome of each test by name: "passed", "not ours", "skipped" or "failed", with the first line of its message.
outcomes: dict[str, tuple[str, str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    name = f"{item.path.name}::{item.name}"
    if call.when == "setup":
        adapters.fits[0] = 0
    if report.skipped or (call.when == "setup" and report.failed):
        outcomes[name] = ("skipped", str(getattr(call.excinfo, "value", "")).split("\n")[0])
    elif call.when == "call":
        failure = "" if call.excinfo is None else f"{call.excinfo.typename}: {_first_line(call.excinfo.value)}"
        # A test that only builds one of ours, or none, says nothing unless it fails inside ours.
        ours = adapters.fits[0] > 0 or _passes_through_ours(call)
        outcomes[name] = ("failed" if failure else "passed", failure) if ours else ("not ours", failure)
    return report


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " | ".join(lines[:4])[:300]


def _passes_through_ours(call):
    if call.excinfo is None:
        return False
    files = [str(entry.path) for entry in call.excinfo.traceback]
    return any("fastgd" in name or name == adapters.__file__ for name in files) and "sklearn" in sys.modules
