"""Signals before the work begins, closed and full streams, narrow encodings, and characters that terminals obey."""

import contextlib
import io
import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from fastgd import cli
from fastgd.cli import errors, output, signals
from fastgd.cli.output import printable, printable_json, whole_file
from fastgd.cli.progress import progress

CLOSED = "fastgd: error: the result cannot be printed: standard output is closed; {}\n"
HOSTILE = "a\x1b[31m\x9b2J\u202eb\rc\nd\x7f"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["before the options are known", "while they are read", "before the work"])
def test_signals_of_the_first_moments(environment, number, code, moment):
    script = f"""
import os, signal, sys
from fastgd import cli

class Sender:
    def find_spec(self, name, *_):
        if name == {{"before the options are known": "typer", "before the work": "fastgd.cli.info"}}.get({moment!r}):
            os.kill(os.getpid(), {int(number)})

sys.meta_path.insert(0, Sender())
if {moment!r} == "while they are read":
    import fastgd.cli.app
    fastgd.cli.app.fastgd = None
    import typer.core
    parse = typer.core.TyperCommand.parse_args
    def send(*args):
        os.kill(os.getpid(), {int(number)})
        return parse(*args)
    typer.core.TyperCommand.parse_args = send
sys.exit(cli.main(["info"]))
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "fastgd: stopped: nothing was written\n")


def test_a_signal_that_an_import_drops(environment):
    script = f"""
import os, sys
from fastgd import cli

class Sender:
    def find_spec(self, name, *_):
        if name == "socket":
            try:
                os.kill(os.getpid(), {int(signal.SIGTERM)})
            except KeyboardInterrupt:
                pass

sys.modules.pop("socket", None)
sys.meta_path.insert(0, Sender())
sys.exit(cli.main(["--version"]))
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "fastgd: stopped: nothing was written\n")


def test_handlers_come_before_all_other_imports(environment):
    script = """
import sys
before = set(sys.modules)
from fastgd import cli
names = set(sys.modules) - before - {"fastgd", "fastgd.cli", "fastgd.cli.signals", "signal", "importlib", "__future__"}
sys.exit(f"{names}" if any(name in names for name in ("typing", "socket", "threading", "tempfile", "typer")) else 0)
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_second_signal_does_not_interrupt_the_clean_up(monkeypatch):
    monkeypatch.setattr(signals, "_received", [])
    with pytest.raises(KeyboardInterrupt):
        signals._raise(signal.SIGTERM, None)
    signals._raise(signal.SIGINT, None)
    assert signals.exit_code() == 143


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_a_library_reports_as_its_own_error(monkeypatch, capsys, number, code):
    """DuckDB raises RuntimeError("Query interrupted") in place of what the handler raised."""
    monkeypatch.setattr(signals, "_received", [])
    monkeypatch.setattr(output, "written", [])
    # Whose watch would end the process of the tests at its next signal.
    monkeypatch.setattr(signals, "install", lambda: None)

    def read(_):
        with contextlib.suppress(KeyboardInterrupt):
            signals._raise(number, None)
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(cli, "_parse", read)
    assert cli.main([]) == code
    assert capsys.readouterr().err == "fastgd: stopped: nothing was written\n"


def test_a_closed_output_is_reported(environment):
    code = "import os, sys\nos.close(1)\nos.execv(sys.executable, [sys.executable, '-m', 'fastgd', 'info'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == CLOSED.format("nothing was written")


@pytest.mark.parametrize(("closed", "code"), [pytest.param((1,), 1, marks=pytest.mark.slow), ((0, 2), 0)])
def test_closed_streams(command, environment, tmp_path, closed, code):
    """The model is saved, and no file is opened in place of a stream."""
    code_of_child = f"import os, sys\nfor n in {closed}: os.close(n)\nos.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-m", "fastgd", "fit", "--save", "saved.model"]
    done = subprocess.run(
        [sys.executable, "-c", code_of_child, *words],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert (tmp_path / "saved.model").stat().st_size > 1000
    assert done.stderr == (CLOSED.format("written: saved.model") if closed == (1,) else "")
    assert done.stdout.startswith("source") == (1 not in closed)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(("stream", "code"), [("stdout", 1), ("stderr", 2)])
def test_full_streams(command, environment, stream, code):
    words = ["info"] if stream == "stdout" else ["no such command"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with open("/dev/full", "w") as full:
        done = subprocess.run([*command, *words], env=environment, text=True, check=False, **{**streams, stream: full})
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


def test_text_is_escaped_for_ascii_and_data_are_not(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    output.prepare_streams()
    assert not output.takes_unicode()
    output.print_text("größe")
    output.print_data("größe\n".encode())
    assert stream.buffer.getvalue() == b"gr\\xf6\\xdfe\n" + "größe\n".encode()


def test_what_a_terminal_would_obey_is_escaped():
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


def test_progress_without_a_terminal_prints_nothing(capsys):
    with progress() as show:
        show("reading")
    assert capsys.readouterr() == ("", "")


def test_a_whole_file_keeps_modes_and_links(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "written", [])
    old, link = tmp_path / "old.csv", tmp_path / "link.csv"
    old.write_text("before")
    old.chmod(0o640)
    link.symlink_to(old)
    with whole_file(link) as temporary:
        temporary.write_text("after")
        assert old.read_text() == "before"
    assert link.is_symlink()
    assert old.read_text() == "after"
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert output.written_files() == f"written: {link}"
    with pytest.raises(NotADirectoryError), whole_file(old) as temporary:
        (temporary / "no folder").write_text("never")
    assert old.read_text() == "after"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "old.csv"]


def test_a_whole_file_is_written_into_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe) as temporary:
        temporary.write_text("rows")
    assert os.read(reader, 100) == b"rows"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.csv"]
