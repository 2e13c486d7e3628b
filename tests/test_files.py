"""Files are replaced whole, keep their permissions and links; devices and pipes are written into."""

import contextlib
import os
import stat
import subprocess
import sys
import threading

import pytest

from fastgd import files
from fastgd.files import whole_file

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


def write(path, content=b"new"):
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "model.csv"
    path.write_bytes(b"old")
    with whole_file(str(path)) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.suffix == ".csv"
        assert str(temporary) in files.unfinished
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model.csv"]
    assert not files.unfinished


@pytest.fixture
def windows(monkeypatch):
    """Refuse to rename or remove a file while this process has it open, and have no locks, as on Windows."""

    def is_open(path):
        for handle in range(256):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(handle), os.lstat(path)):
                    return True
        return False

    def refusing(call):
        def guarded(path, *arguments, **options):
            if is_open(path):
                raise PermissionError(f"{path} is used by another process")
            return call(path, *arguments, **options)

        return guarded

    monkeypatch.setattr(files, "fcntl", None)
    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


def test_two_writers_of_one_file_without_locks(windows, tmp_path):
    path = tmp_path / "model.csv"
    with whole_file(path) as first:
        first.write_bytes(b"first")
        write(path, b"second")
        assert first.read_bytes() == b"first"
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    with pytest.raises(ValueError, match="stop"), whole_file(path):
        raise ValueError("stop")
    assert os.listdir(tmp_path) == ["model.csv"]
    assert not files.unfinished


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_after_an_error_the_file_is_as_before(tmp_path, error):
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise error

    with pytest.raises(error), whole_file(path) as temporary:
        fail(temporary)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_permissions_stay(tmp_path, mode):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_links_are_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link, second = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "second"
    link.symlink_to("folder/target")
    second.symlink_to("link")
    # The link leads nowhere yet.
    for content in (b"first", b"again"):
        write(second, content)
        assert target.read_bytes() == content
        assert link.is_symlink()
        assert second.is_symlink()
    assert os.listdir(tmp_path / "folder") == ["target"]


@posix
def test_a_pipe_is_written_into(tmp_path):
    pipe, got = tmp_path / "pipe.csv", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"x" * 200_000)
    reader.join(10)
    assert got == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe.csv"]


@posix
def test_a_device_stays_a_device(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.stat(os.devnull).st_rdev)
        device.write_bytes(b"")
    except OSError:
        pytest.skip("devices cannot be made here")
    write(device)
    assert stat.S_ISCHR(device.stat().st_mode)
    link = tmp_path / "link"
    link.symlink_to(device)
    write(link)
    assert stat.S_ISCHR(device.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "null"]


@posix
@pytest.mark.parametrize("where", ["file", "pipe"])
def test_standard_output_is_written_after_what_was_printed(tmp_path, root, where):
    code = (
        "from fastgd.files import whole_file\n"
        "print('before')\n"
        "with whole_file('/dev/stdout') as path: path.write_text('content\\n')\n"
        "print('after')\n"
    )
    with open(tmp_path / "out", "wb") as file:
        to = file if where == "file" else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", code], cwd=root, stdout=to, check=True, timeout=60)
    found = (tmp_path / "out").read_bytes() if where == "file" else done.stdout
    assert found == b"before\ncontent\nafter\n"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["m" * 255, "m" * 251 + ".csv", "é" * 127, "m." + "x" * 253])
def test_names_may_have_as_many_bytes_as_the_system_allows(tmp_path, name):
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError), whole_file(tmp_path):
        raise AssertionError("nothing can be written there")
    assert os.listdir(tmp_path) == []


KILLED = """
import sys, time
from fastgd.files import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@posix
def test_files_of_killed_writers_are_removed_and_those_in_use_stay(tmp_path, root):
    path = tmp_path / "model"
    words = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        (half,) = tmp_path.iterdir()
        write(path, b"meanwhile")
        assert half.read_bytes() == b"half"
        process.kill()
    write(path, b"afterwards")
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_bytes() == b"afterwards"


def test_two_threads_may_write_the_same_file(tmp_path):
    path, both = tmp_path / "model", threading.Barrier(2)

    def slowly(content):
        with whole_file(path) as temporary:
            both.wait(10)
            temporary.write_bytes(content)

    threads = [threading.Thread(target=slowly, args=(content,)) for content in (b"1", b"2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert path.read_bytes() in (b"1", b"2")
    assert os.listdir(tmp_path) == ["model"]


def test_many_writers_of_one_file_leave_it_whole(tmp_path, monkeypatch):
    """Each write succeeds, and every reader sees one writer's content."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    path, wrong, done = tmp_path / "model", [], threading.Event()
    write(path, b"0" * 5000)

    def save(digit):
        try:
            for _ in range(60):
                write(path, digit * 5000)
        except OSError as error:
            wrong.append(error)

    def read():
        while not done.is_set():
            content = path.read_bytes()
            if content != content[:1] * 5000:
                wrong.append(len(content))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=save, args=(digit,)) for digit in (b"1", b"2", b"3", b"4")]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(30)
    done.set()
    reader.join(10)
    assert not wrong
    assert os.listdir(tmp_path) == ["model"]


@posix
def test_a_temporary_file_removed_before_it_is_locked_is_not_written(tmp_path, monkeypatch):
    """Between creation and lock, one writer takes the file for abandoned, and another uses its name."""
    flock, created = files.fcntl.flock, []

    def after_others(handle, operation):
        if not created:
            (first,) = tmp_path.iterdir()
            first.unlink()
            first.write_bytes(b"another's")
            created.append(first)
        flock(handle, operation)

    monkeypatch.setattr(files.fcntl, "flock", after_others)
    with whole_file(tmp_path / "model") as temporary:
        assert temporary != created[0]
        temporary.write_bytes(b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
    assert created[0].read_bytes() == b"another's"


@posix
@pytest.mark.parametrize("kind", ["finished", "abandoned"])
def test_the_temporary_file_of_another_writer_stays(tmp_path, monkeypatch, kind):
    """After a writer has finished, or while it looks for abandoned files, another one uses the name."""
    path, taken = tmp_path / "model", []
    if kind == "abandoned":
        with whole_file(path) as name:
            pass
        name.write_bytes(b"abandoned")
    opened, replace = os.open, os.replace

    def open_before_others(name, *arguments):
        handle = opened(name, *arguments)
        if kind == "abandoned" and not taken:
            name.rename(path)
            name.write_bytes(b"another's")
            taken.append(name)
        return handle

    def replace_before_others(source, target):
        replace(source, target)
        if kind == "finished":
            source.write_bytes(b"another's")
            taken.append(source)

    monkeypatch.setattr(os, "open", open_before_others)
    monkeypatch.setattr(os, "replace", replace_before_others)
    write(path)
    assert path.read_bytes() == b"new"
    assert taken[0].read_bytes() == b"another's"
