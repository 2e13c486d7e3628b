"""Standard streams, signals, progress and messages: exit codes, narrow encodings, escaped control characters."""

import contextlib
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastgd
from fastgd import cli
from fastgd.cli import errors, output, signals
from fastgd.cli.errors import describe, in_options
from fastgd.cli.output import printable, printable_json, whole_file
from fastgd.cli.progress import progress, reading_detail
from fastgd.exceptions import DeviceError

pty = pytest.importorskip("pty", reason="terminals and signals of POSIX")

CLOSED = "fastgd: error: the result cannot be printed: standard output is closed; {}\n"
HOSTILE = "a\x1b[31m\x9b2J\u202eb\rc\nd\x7f"


STOPPED = "fastgd: stopped: nothing was written\n"
SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])

#: Run the command; the import of a module sends a signal, which the second script drops as an import may.
SEND = """
import os, sys
from fastgd import cli
sys.modules.pop("socket", None)
class Sender:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))
sys.meta_path.insert(0, Sender())
sys.exit(cli.main(sys.argv[3:]))
"""
SEND_AND_DROP = SEND.replace(
    "os.kill(os.getpid(), int(sys.argv[2]))",
    """
            try:
                os.kill(os.getpid(), int(sys.argv[2]))
            except KeyboardInterrupt:
                pass""",
)
SEND_IN_PARSER = """
import os, sys
from fastgd import cli
import fastgd.cli.app, typer.core
fastgd.cli.app.fastgd = None
parse = typer.core.TyperCommand.parse_args
def send(*args):
    os.kill(os.getpid(), int(sys.argv[2]))
    return parse(*args)
typer.core.TyperCommand.parse_args = send
sys.exit(cli.main(sys.argv[3:]))
"""


@SIGNALS
@pytest.mark.parametrize(
    ("script", "moment"),
    [(SEND, "typer"), (SEND_IN_PARSER, "while options are read"), (SEND, "fastgd.cli.info"), (SEND_AND_DROP, "socket")],
    ids=["before options", "in the parser", "before the work", "dropped by an import"],
)
def test_signals_during_startup(run_python, number, code, script, moment):
    done = run_python(script, moment, int(number), "info")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", STOPPED)


def test_handlers_come_before_all_other_imports(environment):
    script = """
import sys
before = set(sys.modules)
from fastgd import cli
names = set(sys.modules) - before - {"fastgd", "fastgd.cli", "fastgd.cli.signals", "signal", "importlib", "__future__"}
sys.exit(f"{names}" if any(name in names for name in ("typing", "socket", "threading", "tempfile", "typer")) else 0)
"""
    words = [sys.executable, "-S", "-c", script]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_second_signal_does_not_interrupt_the_clean_up(monkeypatch):
    monkeypatch.setattr(signals, "_received", [])
    with pytest.raises(KeyboardInterrupt):
        signals._raise(signal.SIGTERM, None)
    signals._raise(signal.SIGINT, None)
    assert signals.exit_code() == 143


@SIGNALS
def test_a_signal_that_a_library_reports_as_its_own_error(monkeypatch, capsys, no_signals, number, code):
    """DuckDB raises RuntimeError("Query interrupted") in place of what the handler raised."""
    monkeypatch.setattr(signals, "_received", [])
    monkeypatch.setattr(output, "written", [])

    def read(_):
        with contextlib.suppress(KeyboardInterrupt):
            signals._raise(number, None)
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(cli, "_parse", read)
    assert cli.main([]) == code
    assert capsys.readouterr().err == STOPPED


#: Run the words that follow the first with the streams closed that it lists.
CLOSE = """
import os, sys
for number in map(int, sys.argv[1].split()):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-m", "fastgd", *sys.argv[2:]])
"""


@pytest.mark.parametrize(
    ("closed", "words", "code", "reported"),
    [
        ("1", ["info"], 1, CLOSED.format("nothing was written")),
        pytest.param("1", ["fit"], 1, CLOSED.format("written: saved.model"), marks=pytest.mark.slow),
        ("0 2", ["fit"], 0, ""),
    ],
)
def test_closed_streams(run_python, tmp_path, closed, words, code, reported):
    """The model is saved, and no file is opened in place of a stream."""
    done = run_python(CLOSE, closed, *words, *(["--save", "saved.model"] if words == ["fit"] else []))
    assert (done.returncode, done.stderr) == (code, reported)
    assert done.stdout.startswith("source") == (closed == "0 2")
    if words == ["fit"]:
        assert (tmp_path / "saved.model").stat().st_size > 1000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(("stream", "code"), [("stdout", 1), ("stderr", 2)])
def test_full_streams(command, environment, stream, code):
    words = [*command, "info" if stream == "stdout" else "no such command"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, env=environment, text=True, check=False, **{**streams, stream: full})
    assert done.returncode == code
    if stream == "stdout":
        assert done.stderr.count("\n") == 1
        assert "standard output: No space left on device; nothing was written" in done.stderr


def test_an_ascii_terminal_gets_ascii(call, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("größe,b,y\n" + "".join(f"{i % 7},{i % 5},{i}.5\n" for i in range(60)))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert call("fit", "t.csv", "--target", "y", "--json").returncode == 0
    facts = json.loads(stream.buffer.getvalue())
    assert {entry["name"] for entry in facts["coefficients"]} == {"größe", "b"}


def test_text_is_escaped_for_ascii_and_data_are_not(monkeypatch, tmp_path):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    output.prepare_streams()
    assert not output.takes_unicode()
    output.print_text("größe")
    (tmp_path / "t.csv").write_bytes("größe\n".encode())
    output.print_file(tmp_path / "t.csv")
    assert stream.buffer.getvalue() == b"gr\\xf6\\xdfe\n" + "größe\n".encode()


def test_control_characters_are_escaped_for_terminals():
    assert printable(HOSTILE) == r"a\x1b[31m\x9b2J\u202eb\rc\nd\x7f"
    assert printable("naïve 数") == "naïve 数"
    assert json.loads(printable_json(json.dumps({"a": HOSTILE}, ensure_ascii=False))) == {"a": HOSTILE}


def test_errors_are_escaped(capsys):
    errors.say("error", f"first\n  {HOSTILE}")
    assert capsys.readouterr().err == "fastgd: error: first a\\x1b[31m\\x9b2J\\u202eb c d\\x7f\n"


def test_names_and_labels_are_escaped(call, tmp_path):
    rows = "".join(f'{i % 7},{i % 5},"{HOSTILE if i % 2 else "no"}"\n' for i in range(60))
    (tmp_path / "t.csv").write_text(f'"x\x1b]0;title\x07",b,y\n{rows}', encoding="utf-8", newline="")
    for words in ((), ("--json",), ("--target", "z")):
        done = call("fit", "t.csv", "--target", "y", *words)
        assert not set("\x1b\x07\x9b\u202e\r\x7f") & set(done.stdout + done.stderr)
        assert done.returncode == (2 if "z" in words else 0), done.stderr


def test_progress_of_reading_shows_rate_share_and_time_left():
    assert reading_detail(1_000_000, 0.25, 20.0) == "1,000,000 rows  50,000 rows/s  25%  1:00 left"
    assert reading_detail(1000, -1.0, 0.0) == "1,000 rows"


def test_progress_without_a_terminal_prints_nothing(capsys):
    with progress() as show:
        show("reading")
    assert capsys.readouterr() == ("", "")


def test_a_whole_file_is_recorded_as_written(tmp_path, monkeypatch):
    """`fastgd.files` has the tests of how it is written."""
    monkeypatch.setattr(output, "written", [])
    with whole_file(tmp_path / "new.csv") as temporary:
        temporary.write_text("after")
        assert output.written_files() == "nothing was written"
    assert (tmp_path / "new.csv").read_text() == "after"
    with pytest.raises(NotADirectoryError), whole_file(tmp_path / "other.csv") as temporary:
        (temporary / "no folder").write_text("never")
    assert output.written_files() == f"written: {tmp_path / 'new.csv'}"
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


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


def test_an_interrupt_leaves_a_checkpoint_and_a_model(start, call, tmp_path, line_csv):
    rule = ("--optimizer", "adam", "--batch-size", 64, "--tol", 0, "--epochs", 10**6)
    words = ("fit", line_csv, "--target", "y", *rule, "--checkpoint", "fit.ck", "--save", "line.model", "--quiet")
    process, terminal = start(*words, "--checkpoint-every", 0)
    path, sizes = tmp_path / "fit.ck", set()
    while len(sizes) < 4:  # the file is there before the first epoch, and grows with each
        assert process.poll() is None
        time.sleep(0.01)
        if path.exists():
            sizes.add(path.stat().st_size)
    process.send_signal(signal.SIGINT)
    terminal.read_until(None)
    assert process.wait(60) == 130, terminal.text
    assert "written: line.model, fit.ck" in terminal.text
    assert len(call("predict", "line.model", line_csv).stdout.splitlines()) == 401
    again = call(*words[:4], *rule, "--max-seconds", 0.1, "--resume", "fit.ck", "--json").facts()
    assert again["fit"]["passes_resumed"] > 0


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
    work = """
import hashlib, pathlib
from fastgd.cli import output, signals
signals.install()
with output.whole_file(pathlib.Path("out.csv")) as path:
    path.write_text("half")
    while True:
        try:
            print("ready", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
        except KeyboardInterrupt:  # it came before the work had begun
            pass
"""
    words = [sys.executable, "-c", work]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_import_nothing_heavy(run_python):
    check = (
        "import sys\n"
        "from fastgd.cli import main\n"
        "codes = [main(words) for words in (['--help'], ['fit', '--help'], ['predict', '-h'], ['--version'], [])]\n"
        "heavy = {'numba', 'numpy', 'scipy', 'sklearn', 'duckdb', 'matplotlib'} & sys.modules.keys()\n"
        "sys.exit(f'{codes} {heavy}' if any(codes) or heavy else 0)\n"
    )
    done = run_python(check)
    assert done.returncode == 0, done.stderr
    assert f"fastgd {fastgd.__version__}\n" in done.stdout
    for word in ("fit", "predict", "info", "warmup", "--holdout", "--target COL", "--output", "--plot FILE"):
        assert word in done.stdout
    rules, schedules = (done.stdout.partition(f"--{name} ")[2].partition("--")[0] for name in ("optimizer", "schedule"))
    assert set(fastgd.optimizers.BY_NAME) <= set(re.findall(r"\w+", rules))
    assert set(fastgd.schedules.BY_NAME) <= set(re.findall(r"\w+", schedules))


def test_info(run, call):
    facts = run("info", "--json").facts()
    assert (facts["fastgd"], facts["numpy"]) == (fastgd.__version__, np.__version__)
    assert facts["threads"] >= 1
    assert "cache" in call("info").stdout


def test_a_closed_pipe_is_not_an_error(command, environment):
    info = subprocess.Popen([*command, "info"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    info.stdout.close()
    with info.stderr:
        assert b"Traceback" not in info.stderr.read()
    assert info.wait(10) == 141


@pytest.mark.parametrize(
    ("words", "found"),
    [("fastgd wa", "warmup"), ("fastgd fit --early", "--early-stopping"), ("fastgd fit --task lo", "logistic")],
)
def test_shells_complete_commands_options_and_values(call, monkeypatch, capfd, words, found):
    monkeypatch.setenv("_FASTGD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit) as end:
        call()
    assert end.value.code == 0
    assert capfd.readouterr().out.split() == [found]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "max_iter reached at certificate 0.1 > tol=0.0001: increase max_iter or tol",
            "--epochs reached at certificate 0.1 > --tol 0.0001: increase --epochs or --tol",
        ),
        ("use optimizer='auto', or learning_rate=1e-09.", "use --optimizer auto, or --learning-rate 1e-09."),
        ("n_iter_no_change without early_stopping=True: leave it", "--patience without --early-stopping: leave it"),
        ("set alpha > 0, l1_ratio=0", "set --alpha > 0, --l1-ratio 0"),
        ("the alphabet's tolerance of max_iterations", "the alphabet's tolerance of max_iterations"),
    ],
)
def test_messages_of_estimators_name_options(message, expected):
    assert in_options(message) == expected


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (
            DeviceError("the GPU stopped working: fit with device='cpu'"),
            "the GPU stopped working: fit with --device cpu",
        ),
        (MemoryError("the GPU has no room for the data"), "fewer rows or columns, or --device cpu"),
        (MemoryError("Unable to allocate 8 GiB"), "fewer rows or columns"),
        (
            ArithmeticError("[719] Call to cuCtxSynchronize results in CUDA_ERROR_LAUNCH_FAILED\nmore"),
            "reports CUDA_ERROR_LAUNCH_FAILED: check that nvidia-smi works, or use --device cpu",
        ),
    ],
)
def test_errors_of_gpus_are_reported_in_a_line(error, reported):
    line = describe(error)
    assert line.endswith(reported)
    assert "\n" not in line


def test_errors_of_the_program_are_shown_whole():
    assert describe(ArithmeticError("no such thing")) is None


@pytest.mark.parametrize(("cause", "lines"), [("CUDA_ERROR_LAUNCH_FAILED", 0), ("another cause", 2)])
def test_after_an_error_of_a_gpu_its_clean_up_is_silent(monkeypatch, capsys, no_signals, cause, lines):
    def fail(*_):
        raise DeviceError(cause)

    monkeypatch.setattr(cli, "_parse", fail)
    hooks = "unraisablehook", "excepthook"
    for name in hooks:
        monkeypatch.setattr(sys, name, lambda *_: sys.stderr.write("pages\n"))
    assert cli.main([]) == 2
    for name in hooks:
        getattr(sys, name)(None)
    assert capsys.readouterr().err.splitlines().count("pages") == lines
