"""The command: in a process of its own (`run`), or called in this one (`call`), which takes a hundredth of the time."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastgd import cli
from fastgd.cli import output


class Finished(subprocess.CompletedProcess):
    """A finished command: its exit code and what it printed."""

    def facts(self):
        """Return the JSON object that it printed, after success."""
        assert self.returncode == 0, self.stderr
        (line,) = self.stdout.splitlines()
        return json.loads(line)

    def check_refusal(self, message):
        """Check that it ended with one line on stderr, which holds `message`, and no result."""
        assert (self.returncode, self.stdout) == (2, ""), self.stderr
        assert self.stderr.startswith("fastgd: error: ")
        assert self.stderr.count("\n") == 1
        assert message in self.stderr
        assert len(self.stderr) < 4000


def coefficients(reported, key="value"):
    """Return name -> coefficient from the facts of a fit, in their order."""
    return {entry["name"]: entry[key] for entry in reported["coefficients"]}


def page_lines(page):
    """Return label -> text from the page of a fit, continued lines joined."""
    found, label = {}, ""
    for line in page.split("\n\n")[0].splitlines():
        label = line[:13].strip() or label
        found[label] = f"{found.get(label, '')} {line[13:].strip()}".strip()
    return found


@pytest.fixture(scope="session")
def command():
    """Return the command's words: the installed script, or the module where the checkout is not installed."""
    script = shutil.which("fastgd", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "fastgd"]


@pytest.fixture(scope="session")
def environment(root):
    """Return the environment for the command: no colours, and the checkout where it is not installed."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "200"}


def _finished(words, folder, environment):
    """Run a process to its end, without standard input."""
    streams = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run(words, cwd=folder, env=environment, timeout=120, check=False, **streams)
    return Finished(done.args, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run_python(environment, tmp_path):
    """Return a function that runs code in a process of its own, in `tmp_path`."""

    def run_python(code, *words):
        return _finished([sys.executable, "-c", code, *map(str, words)], tmp_path, environment)

    return run_python


@pytest.fixture
def run(command, environment, tmp_path):
    """Return a function that runs the command in `tmp_path` and gives the finished process."""

    def run(*words, **variables):
        return _finished([*command, *map(str, words)], tmp_path, {**environment, **variables})

    return run


#: Calls of the command in one process; a line ends what each prints to either stream.
CALLS = """
import json, sys
from fastgd import cli
for words in json.loads(sys.argv[1]):
    code = cli.main(words)
    for stream in (sys.stdout, sys.stderr):
        print(f"{code} is the exit code", file=stream, flush=True)
"""


@pytest.fixture
def run_each(environment, tmp_path):
    """Return a function that runs commands in one process and gives what each would leave in its own."""

    def run_each(*commands, **variables):
        words = json.dumps([[str(word) for word in command] for command in commands])
        done = _finished([sys.executable, "-c", CALLS, words], tmp_path, {**environment, **variables})
        assert done.returncode == 0, done.stderr
        parts = [re.split(r"(\d+) is the exit code\n", text) for text in (done.stdout, done.stderr)]
        return [
            Finished(command, int(code), out, err)
            for command, out, code, err in zip(commands, parts[0][:-1:2], parts[0][1::2], parts[1][:-1:2], strict=True)
        ]

    return run_each


@pytest.fixture
def no_signals(monkeypatch):
    """Install no handlers of signals, which would end the process of the tests at its next signal."""
    monkeypatch.setattr(cli.signals, "install", lambda: None)


@pytest.fixture
def call(monkeypatch, tmp_path, capfd, no_signals):
    """Return a function that calls the command in `tmp_path` and gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words):
        monkeypatch.setattr(output, "written", [])
        code = cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Finished(words, code, out, err)

    return call


@pytest.fixture(scope="session")
def line_data():
    """Return X (400, 3) on very different scales, and y = 5 + 2 a - 30 b + 0 c."""
    X = np.random.default_rng(7).normal(size=(400, 3)) * [1.0, 1e-3, 1e4]
    return X, 5.0 + X @ [2.0, -3e4, 0.0]


@pytest.fixture
def line_csv(tmp_path, line_data):
    """Return a CSV file with the columns a, b, c, y of `line_data`."""
    X, y = line_data
    path = tmp_path / "line.csv"
    np.savetxt(path, np.column_stack([X, y]), delimiter=",", header="a,b,c,y", comments="", fmt="%.17g")
    return path
