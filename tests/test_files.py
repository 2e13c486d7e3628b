"""Files are replaced whole, keep their permissions and links; devices and pipes are written into."""

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
def test_what_a_killed_process_left_is_removed_but_not_what_is_being_written(tmp_path, root):
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
