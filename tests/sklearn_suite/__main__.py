"""Run the suite, print passes and failures by reason, and exit with 1 where the table of failures is out of date."""

import argparse
import os
import sys
import tempfile
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

FILES = (
    "base",
    "ridge",
    "coordinate_descent",
    "logistic",
    "sgd",
    "huber",
    "sag",
    "common",
    "sparse_coordinate_descent",
)


def main() -> int:
    """Run scikit-learn's tests of the named files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("files", nargs="*", default=FILES, help=f"of {', '.join(FILES)}; by default all")
    parser.add_argument("-k", default="", help="only tests that match, as pytest's -k; the table is not compared")
    parser.add_argument("--traceback", action="store_true", help="print pytest's own output")
    options = parser.parse_args()
    # Read by scipy and joblib's workers when they start.
    os.environ["SCIPY_ARRAY_API"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    outcomes = run(options)
    return report(outcomes, complete=not options.k and set(options.files) == set(FILES))


def run(options) -> dict[str, tuple[str, str]]:
    """Run pytest in this process, away from the project's own settings."""
    import pytest

    from tests.sklearn_suite import plugin

    modules = [f"sklearn.linear_model.tests.test_{name}" for name in options.files]
    output = ["--tb=short", "-rN"] if options.traceback else ["--tb=no", "-rN"]
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "pytest.ini"
        settings.write_text("[pytest]\n")
        arguments = [
            "-c",
            str(settings),
            "--rootdir",
            folder,
            "-q",
            *output,
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
        ]
        pytest.main(
            [*arguments, "-W", "ignore", *(["-k", options.k] if options.k else []), "--pyargs", *modules], [plugin]
        )
    return plugin.outcomes


def report(outcomes: dict[str, tuple[str, str]], complete: bool) -> int:
    """Print what passed and failed, and return 1 where a failure is new or a defended one is none."""
    from tests.sklearn_suite.known import DEFENDED

    counts = Counter(kind for kind, _ in outcomes.values())
    skipped = Counter(message for kind, message in outcomes.values() if kind == "skipped")
    failed = {name: message for name, (kind, message) in outcomes.items() if kind == "failed"}
    defended = Counter()
    new = defaultdict(list)
    for name, message in failed.items():
        pattern = next((pattern for pattern in DEFENDED if fnmatchcase(name, pattern.replace("[", "[[]"))), None)
        if pattern is None:
            new[name.partition("[")[0], message].append(name)
        else:
            defended[pattern] += 1
    print()
    for message, count in skipped.most_common():
        print(f"skipped {count:4}: {message[:110]}")
    for pattern, count in defended.items():
        print(f"defended {count:3}: {pattern}: {DEFENDED[pattern]}")
    for (test, message), names in new.items():
        print(f"NEW {len(names):3}: {test}: {message}", *names, sep="\n      ")
    stale = [pattern for pattern in DEFENDED if pattern not in defended] if complete else []
    print(*(f"NOT FAILING: {pattern}" for pattern in stale), sep="\n")
    print(
        f"{counts['passed']} passed, {defended.total()} failed for known reasons, {len(failed) - defended.total()} new "
        f"failures; {counts['skipped']} skipped, {counts['not ours']} without a fit of fastgd"
    )
    return int(bool(new or stale))


if __name__ == "__main__":
    sys.exit(main())
