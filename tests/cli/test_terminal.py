"""Progress on a terminal, signals, and commands that need no data."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastgd

ENDLESS = ("--optimizer", "adam", "--learning-rate", "1e-6", "--batch-size", "8", "--epochs", "100000000", "--tol", "0")


class Terminal:
    """A pseudo-terminal for the standard error of a process."""

    def __init__(self):
        self._ours, self.theirs = pty.openpty()
        self.text = ""

    def read_until(self, pattern, seconds=60):
        """Read what is printed until `pattern` is in it; None reads until the process has closed its end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (pattern and re.search(pattern, self.text)):
            if not select.select([self._ours], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # the other end is closed
                return
            self.text += data.decode()

    def close(self):
        os.close(self._ours)


@pytest.fixture
def start(command, environment, tmp_path):
    """Return a function that starts the command with its standard error on a terminal, and ends it after the test."""
    with contextlib.ExitStack() as stack:

        def start(*words):
            terminal = Terminal()
            process = subprocess.Popen(
                [*command, *map(str, words)],
                cwd=tmp_path,
                env={**environment, "TERM": "xterm"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=terminal.theirs,
            )
            os.close(terminal.theirs)
            stack.callback(terminal.close)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process, terminal

        yield start


@pytest.fixture
def big_npz(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 20))
    np.savez(tmp_path / "big.npz", X=X, y=X.sum(axis=1))
    return tmp_path / "big.npz"


def test_progress_shows_the_epochs_and_leaves_the_page_alone(start, line_csv):
    words = ("--optimizer", "gd", "--batch-size", "full", "--epochs", 40, "--tol", 0)
    process, terminal = start("fit", line_csv, "--target", "y", *words, "--early-stopping", "--json")
    terminal.read_until(None)
    page = process.stdout.read()
    assert process.wait(10) == 0, terminal.text
    assert json.loads(page)["epochs"] == 40
    assert "reading" in terminal.text
    assert re.search(r"fitting.*epoch 40", terminal.text)
    assert re.search(r"loss \d\S*  validation loss \d\S*  certificate \d", terminal.text)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_fit_and_leaves_nothing(start, big_npz, tmp_path, number, code):
    process, terminal = start("fit", big_npz, *ENDLESS, "--save", "saved.model")
    terminal.read_until(r"epoch \d")
    assert re.search(r"epoch \d", terminal.text)
    process.send_signal(number)
    assert process.wait(30) == code
    terminal.read_until(None, 5)
    assert "fastgd: stopped" in terminal.text
    assert "Traceback" not in terminal.text
    assert process.stdout.read() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["big.npz"]


def test_a_signal_ends_the_wait_for_a_source(start, tmp_path):
    os.mkfifo(tmp_path / "never.csv")
    process, terminal = start("fit", "never.csv", "--target", "y")
    terminal.read_until("reading")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_a_signal_ends_work_that_python_cannot_interrupt(environment, tmp_path):
    work = (
        "import hashlib, pathlib\n"
        "from fastgd.cli import output, signals\n"
        "signals.install()\n"
        "with output.whole_file(pathlib.Path('out.csv')) as path:\n"
        "    path.write_text('half')\n"
        "    while True:\n"
        "        try:\n"
        "            print('ready', flush=True)\n"
        "            hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)\n"
        "        except KeyboardInterrupt:  # it came before the work had begun\n"
        "            pass\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", work], cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_import_nothing_heavy(environment):
    check = (
        "import sys\n"
        "from fastgd.cli import main\n"
        "codes = [main(words) for words in (['--help'], ['fit', '--help'], ['predict', '-h'], ['--version'], [])]\n"
        "heavy = {'numba', 'numpy', 'scipy', 'sklearn', 'duckdb', 'matplotlib'} & sys.modules.keys()\n"
        "sys.exit(f'{codes} {heavy}' if any(codes) or heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"fastgd {fastgd.__version__}\n" in done.stdout
    for word in ("fit", "predict", "info", "warmup", "--holdout", "--target COL", "--output", "--plot FILE"):
        assert word in done.stdout
    rules, schedules = (done.stdout.partition(f"--{name} ")[2].partition("--")[0] for name in ("optimizer", "schedule"))
    assert set(fastgd.optimizers.BY_NAME) <= set(re.findall(r"\w+", rules))
    assert set(fastgd.schedules.BY_NAME) <= set(re.findall(r"\w+", schedules))


def test_info(run, call):
    done = run("info", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["fastgd"] == fastgd.__version__
    assert facts["numpy"] == np.__version__
    assert facts["threads"] >= 1
    assert "cache" in call("info").stdout


def test_a_reader_that_leaves_early_is_no_error(command, environment):
    info = subprocess.Popen([*command, "info"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    info.stdout.close()
    with info.stderr:
        assert b"Traceback" not in info.stderr.read()
    assert info.wait(10) == 141
