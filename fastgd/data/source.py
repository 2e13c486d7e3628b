"""Find the files of a source, unpack them where needed, and recognise their formats by their first bytes."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import hashlib
import itertools
import lzma
import re
import shutil
import sys
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

from fastgd.exceptions import TableError
from fastgd.files import unfinished

Format = Literal["delimited", "json", "libsvm", "npy", "npz", "parquet"]

HEAD_BYTES = 1 << 18
_CHUNK_BYTES = 1 << 20
_MOST_LAYERS = 4

_LIBSVM_SUFFIXES = (".svm", ".svmlight", ".libsvm")
#: Suffixes of the files that a folder is searched for.
TABLE_SUFFIXES = (
    *(".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".npy", ".npz"),
    *_LIBSVM_SUFFIXES,
)
_PACKED_SUFFIXES = (".gz", ".xz", ".bz2")
_OPENERS: tuple[tuple[bytes, Callable[..., IO[bytes]]], ...] = (
    (b"\x1f\x8b", cast("Callable[..., IO[bytes]]", gzip.open)),
    (b"\xfd7zXZ\0", cast("Callable[..., IO[bytes]]", lzma.open)),
    (b"BZh", cast("Callable[..., IO[bytes]]", bz2.open)),
)
_FORMATS: tuple[tuple[bytes, Format], ...] = ((b"\x93NUMPY", "npy"), (b"PAR1", "parquet"))
_SUFFIX_FORMATS: dict[str, Format] = {".npy": "npy", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet"}
_TITLES: dict[Format, str] = {
    "delimited": "delimited text",
    "json": "JSON",
    "libsvm": "libsvm",
    "npy": ".npy",
    "npz": ".npz",
    "parquet": "Parquet",
}
_FOREIGN = (
    (b"ARROW1", "an Arrow or Feather file", "save it as Parquet"),
    (b"FEA1", "a Feather file", "save it as Parquet"),
    (b"\x89HDF", "an HDF5 file", "save the table in it as Parquet"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "decompress it first: zstd -d"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"%PDF", "a PDF document", "export the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "save the sheet as CSV"),
    *((b"\x80" + bytes([version]), "a Python pickle", "save the table as Parquet") for version in (2, 3, 4, 5)),
)
_SPREADSHEET = "a spreadsheet or an Office document"
_DECODING = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile)
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LIBSVM = re.compile(rb"[-+.\deE]+([ \t]+qid:\d+)?([ \t]+\d+:[-+.\deEinfa]+)*[ \t]*(#.*)?\r?$")


class Source(NamedTuple):
    """A file ready to be read."""

    name: str
    """The name that the user gave, for messages."""
    path: Path
    """A regular, uncompressed file; text is encoded in UTF-8 unless that shows only later."""
    format: Format
    notes: list[str]


class FileStamp(NamedTuple):
    """A file as it was when it was opened, to notice changes."""

    name: str
    """The name that the user gave, for messages."""
    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, source: Source) -> FileStamp:
        """Return the stamp of the file that the user named, or of its copy where that was a pipe."""
        path = Path(source.name) if Path(source.name).is_file() else source.path
        found = path.stat()
        return cls(source.name, path.resolve(), found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Raise `TableError` if the file has disappeared, or has another size or time of modification."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise TableError(
                f"{self.name} has disappeared since it was opened ({error.strerror}): keep the files of a source until"
                " the fit has ended"
            ) from error
        if (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
            change = f"it had {self.size:,} bytes and has {found.st_size:,}"
            if found.st_size == self.size:
                change = f"it was written again, with as many bytes ({self.size:,})"
            raise TableError(
                f"{self.name} has changed since it was opened: {change}; open the source again when it is complete"
            )


def fingerprint_of(stamps: Sequence[FileStamp], *details: object) -> str:
    """Return a digest of names, sizes and times of files, and of further details of how they are read."""
    text = repr(([(str(stamp.path), stamp.size, stamp.mtime_ns) for stamp in stamps], details))
    return hashlib.sha256(text.encode()).hexdigest()


class Workspace:
    """A folder at `path` for unpacked and recoded copies, removed when this object is."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="fastgd-"))
        unfinished.add(str(self.path))
        weakref.finalize(self, _remove, self.path)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.discard(str(folder))


def find_files(names: str | Path | Iterable[str | Path]) -> list[str]:
    """Return the files that names stand for: patterns and folders expanded alphabetically, ``-`` as it is."""
    given = [names] if isinstance(names, str | Path) else list(names)
    return [file for name in given for file in _expand(str(name))]


def _expand(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        files = sorted(str(file) for file in path.iterdir() if file.is_file() and _is_table(file))
        if not files:
            nested = itertools.chain(path.glob("*/*"), path.glob("*/*/*"))
            below = next((file for file in nested if file.is_file() and _is_table(file)), None)
            remedy = "" if below is None else f"; name those below it by a pattern, such as {name}/**/*{below.suffix}"
            raise TableError(f"{name} is a folder without tables: it holds no {', '.join(TABLE_SUFFIXES)} file{remedy}")
        return files
    if name != "-" and not path.exists() and glob.has_magic(name):
        files = sorted(file for file in glob.glob(name, recursive=True) if Path(file).is_file())
        if not files:
            raise TableError(f"no file matches {name}")
        return files
    return [name]


def _is_table(path: Path) -> bool:
    return not path.name.startswith(".") and _suffix(path) in TABLE_SUFFIXES


def _suffix(path: Path) -> str:
    """Return the last suffix in small letters, apart from that of a compressed file; "" without one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def open_source(name: str, folder: Path) -> Source:
    """Make a file, or ``-`` for standard input, ready to be read; `folder` takes unpacked and recoded copies."""
    path = Path(name)
    if name == "-":
        path = _copy(name, sys.stdin.buffer, folder)
    elif path.exists() and not path.is_file():  # a pipe or a device, which can be read only once
        with path.open("rb") as stream:
            path = _copy(name, stream, folder)
    _refuse_foreign(name, _read_head(path))
    notes: list[str] = []
    path = _unpack(name, path, folder, notes)
    head = _read_head(path)
    if not head.strip():
        raise TableError(f"{_shown(name)} is empty: it holds no line of data")
    format = _binary_format(name, path, head)
    if format is None:
        encoding = _wide_encoding(head)
        if encoding is not None:
            path = recode(path, encoding, folder)
            head = _read_head(path)
        format = _text_format(name, head)
    expected = _SUFFIX_FORMATS.get(Path(name).suffix.lower())
    if expected is not None and format != expected:
        raise TableError(f"{name} cannot be read as {_TITLES[expected]}: its content is {_TITLES[format]}")
    return Source(_shown(name), path, format, notes)


def recode(path: Path, encoding: str, folder: Path) -> Path:
    """Copy a text file as UTF-8; bytes that are not a character in `encoding` become U+FFFD."""
    target = _fresh(folder)
    with path.open("r", encoding=encoding, errors="replace", newline="") as old, target.open("wb") as new:
        while text := old.read(_CHUNK_BYTES):
            new.write(text.encode("utf-8", "replace"))
    return target


def unify_line_ends(path: Path, folder: Path) -> Path:
    """Copy a text file with every line ended by a line feed."""
    target = _fresh(folder)
    with (
        path.open("r", encoding="latin-1", newline=None) as old,
        target.open("w", encoding="latin-1", newline="") as new,
    ):
        while text := old.read(_CHUNK_BYTES):
            new.write(text)
    return target


def tabulate_blanks(path: Path, folder: Path) -> Path:
    """Copy a text file with a tab in place of every run of blanks, and no blanks at the ends of lines."""
    return _copy_lines(path, folder, lambda line: b"\t".join(line.split()) + b"\n")


def drop_blank_lines(path: Path, folder: Path) -> Path:
    """Copy a text file without its blank lines."""
    return _copy_lines(path, folder, lambda line: line if line.strip() else b"")


def _copy_lines(path: Path, folder: Path, change: Callable[[bytes], bytes]) -> Path:
    target = _fresh(folder)
    with path.open("rb") as old, target.open("wb") as new:
        new.writelines(map(change, old))
    return target


def is_utf8(path: Path) -> bool:
    """Return whether a text file is encoded in UTF-8."""
    try:
        with path.open("r", encoding="utf-8", newline="") as file:
            while file.read(_CHUNK_BYTES):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _unpack(name: str, path: Path, folder: Path, notes: list[str]) -> Path:
    """Decompress a file and take the one member out of an archive, until neither applies; note the members."""
    for _ in range(_MOST_LAYERS):
        head = _read_head(path)
        opener = next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)
        try:
            if opener is not None:
                with opener(path, "rb") as stream:
                    path = _copy(name, stream, folder)
            elif head[257:262] == b"ustar" or (head.startswith(b"PK\3\4") and not _is_npz(path)):
                path, member = (_from_zip if head.startswith(b"PK") else _from_tar)(name, path, folder)
                notes.append(f"read {member} in {name}")
            else:
                return path
        except _DECODING as error:
            raise TableError(f"{name} cannot be decompressed ({error}): is it complete?") from error
    raise TableError(f"{name} is packed more than {_MOST_LAYERS} times: unpack it first")


class _Unpacked(NamedTuple):
    path: Path
    member: str
    """Its name in the archive."""


def _from_tar(name: str, path: Path, folder: Path) -> _Unpacked:
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive if member.isfile()}
        member = _only_member(name, list(members))
        return _Unpacked(_copy(name, cast("IO[bytes]", archive.extractfile(members[member])), folder), member)


def _from_zip(name: str, path: Path, folder: Path) -> _Unpacked:
    with zipfile.ZipFile(path) as archive:
        files = [info.filename for info in archive.infolist() if not info.is_dir()]
        if "[Content_Types].xml" in files or "content.xml" in files:
            raise TableError(f"{name} is {_SPREADSHEET}: save the sheet as CSV")
        member = _only_member(name, files)
        try:
            with archive.open(member) as stream:
                return _Unpacked(_copy(name, stream, folder), member)
        except (RuntimeError, NotImplementedError) as error:  # a password, or a rare compression
            raise TableError(f"{name} cannot be unpacked ({error}): unpack it first") from error


def _is_npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        files = archive.namelist()
    return bool(files) and all(file.endswith(".npy") for file in files)


def _only_member(name: str, members: list[str]) -> str:
    """Return the one table in an archive, apart from hidden files and those of the operating system."""
    visible = [member for member in members if not Path(member).name.startswith((".", "__MACOSX"))]
    tables = [member for member in visible if _is_table(Path(member))] or visible
    if len(tables) != 1:
        listed = ", ".join(tables[:5]) + (", ..." if len(tables) > 5 else "")
        raise TableError(f"{name} is an archive of {len(tables)} files ({listed}): unpack it and name one of them")
    return tables[0]


def _copy(name: str, stream: IO[bytes], folder: Path) -> Path:
    """Copy a stream into a new file, unless its beginning already shows that it cannot be read."""
    target = _fresh(folder)
    with target.open("wb") as file:
        first = stream.read(HEAD_BYTES)
        _refuse_foreign(name, first)
        try:
            file.write(first)
            shutil.copyfileobj(stream, file, _CHUNK_BYTES)
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile) or error.errno is None:
                raise
            raise TableError(
                f"{_shown(name)} cannot be unpacked into {folder.parent} ({error.strerror}): set TMPDIR to a folder "
                "with more space"
            ) from error
    return target


def _fresh(folder: Path) -> Path:
    return folder / f"{sum(1 for _ in folder.iterdir())}"


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _binary_format(name: str, path: Path, head: bytes) -> Format | None:
    """Return the format of a binary file; None for text."""
    _refuse_foreign(name, head)
    if head.startswith(b"PK\3\4"):
        return "npz"
    return next((format for magic, format in _FORMATS if head.startswith(magic)), None)


def _refuse_foreign(name: str, head: bytes) -> None:
    """Raise `TableError` for bytes that begin neither text nor a format that is read or unpacked."""
    if Path(name).suffix.lower() in {".xlsx", ".xls", ".xlsm", ".ods"} and b"\0" in head:
        raise TableError(f"{name} is {_SPREADSHEET}: save the sheet as CSV")
    for magic, title, remedy in _FOREIGN:
        if head.startswith(magic):
            raise TableError(f"{_shown(name)} is {title}: {remedy}")
    known = (*(magic for magic, _ in (*_OPENERS, *_FORMATS)), b"PK\3\4")
    if head.startswith(known) or head[257:262] == b"ustar" or _wide_encoding(head) is not None:
        return
    if b"\0" in head:
        raise TableError(
            f"{_shown(name)} is not a table that can be read: save it as CSV or TSV (plain, .gz, .xz or .bz2), Parquet,"
            " JSON, .npy or .npz"
        )


def _wide_encoding(head: bytes) -> str | None:
    """Return the encoding of text in two or four bytes per character, with or without a byte-order mark."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    sample = head[: min(len(head), 2000) // 2 * 2]
    for encoding, zeros, others in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if len(zeros) >= 4 and zeros.count(0) > 0.9 * len(zeros) and others.count(0) == 0:
            return encoding
    return None


def _text_format(name: str, head: bytes) -> Format:
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b"<"):
        title = "an HTML page" if re.match(rb"(?i)<(!doctype )?html", text) else "HTML or XML"
        raise TableError(f"{_shown(name)} is {title}, not a table: save the table in it as CSV")
    if text.startswith((b"{", b"[{", b"[\n", b"[\r", b"[ ")) or (text[:1] == b"[" and b"{" in text[:100]):
        return "json"
    if _suffix(Path(name)) in _LIBSVM_SUFFIXES:  # its first rows may be empty, so that they look like other text
        return "libsvm"
    lines = [line for line in text.split(b"\n")[:20] if line.strip() and not line.startswith(b"#")]
    if lines and b":" in lines[0] and all(_LIBSVM.match(line) for line in (lines[:-1] or lines)):
        return "libsvm"
    return "delimited"


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name


def one_format(sources: Sequence[Source]) -> Format:
    """Return the format that all sources share; raise `TableError` if they differ."""
    first = sources[0]
    for other in sources[1:]:
        if other.format != first.format:
            raise TableError(
                f"{other.name} is {_TITLES[other.format]}, but {first.name} is {_TITLES[first.format]}: files that"
                " are read as one table must have one format"
            )
    return first.format


def read_lines(path: Path, most: int = HEAD_BYTES) -> Iterator[str]:
    """Yield the first whole lines of a text file, up to `most` bytes, without their ends."""
    with path.open("rb") as file:
        head = file.read(most)
    if len(head) == most and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    yield from re.split(r"\r\n|\n|\r", head.decode("utf-8-sig", errors="replace"))
