"""The pages of the documentation: all are reached, all of their code runs, and all public names have a place."""

import ast
import contextlib
import importlib
import io
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

import fastgd
from docs.links import broken_links
from fastgd import data, exceptions, optimizers, plots, schedules
from fastgd.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
NAMES = [path.relative_to(DOCS).as_posix() for path in PAGES]
#: Pages of lists, of source and of prose, which need no picture.
WITHOUT_PICTURE = ("index.md", "decisions.md", "api/reference.md")
#: The fences of a page: code that runs, commands for another place, directives of Sphinx, and plain output.
FENCES = {"{code-cell} python", "sh", "{toctree}", "{include}", "{literalinclude}", "{eval-rst}", "text", ""}
#: Pages with commands that no build can run: installations, files and a GPU that it lacks.
WITH_COMMANDS = {"start.md", "command.md", "guide/gpu.md"}


class Cell(NamedTuple):
    """A code cell of a page."""

    source: str
    tags: str


def cells(page: Path) -> list[Cell]:
    """Return the code cells of a page in order."""
    found = re.findall(
        r"^```\{code-cell\} python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    tags = [re.match(r":tags: (.*)\n", body) for body in found]
    return [
        Cell(re.sub(r"\A:tags:.*\n", "", body).strip(), tag[1] if tag else "")
        for body, tag in zip(found, tags, strict=True)
    ]


def toctree(page: Path) -> set[Path]:
    """Return the pages that the toctrees of a page list."""
    found = set()
    for body in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for line in filter(None, re.sub(r"^:.*\n", "", body, flags=re.MULTILINE).splitlines()):
            entry = re.sub(r".* <(.*)>", r"\1", line)
            matches = set(page.parent.glob(f"{entry}.md"))
            assert matches, entry
            found |= matches
    return found


def test_every_page_is_reached() -> None:
    reached, new = set(), {DOCS / "index.md"}
    while new:
        reached |= new
        new = {child for page in new for child in toctree(page)} - reached
    assert sorted(reached) == PAGES


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_page_has_one_title_and_code_that_runs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    fences = {
        fence.split(" ../")[0] for fence in re.findall(r"^```([^`\n]*)\n(?:.*?)^```$", text, re.DOTALL | re.MULTILINE)
    }
    assert fences <= FENCES
    name = page.relative_to(DOCS).as_posix()
    assert "sh" not in fences or name in WITH_COMMANDS
    if "{code-cell} python" in fences:
        assert text.startswith("---\nfile_format: mystnb\n"), "without this front matter cells are not run"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_page_has_a_picture(page: Path) -> None:
    name = page.relative_to(DOCS).as_posix()
    if page.name in WITHOUT_PICTURE or name in WITHOUT_PICTURE:
        return
    drawn = any(re.search(r"matplotlib|plots|SVG", cell.source) for cell in cells(page))
    assert drawn or "![" in page.read_text(encoding="utf-8")


def test_reference_lists_all_public_names() -> None:
    listed, module = set(), ""
    for line in (DOCS / "api" / "index.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split(":: ")[1]
        elif re.fullmatch(r"   \w+", line):
            listed.add((module, line.strip()))
    public = {("fastgd", name) for name in fastgd.__all__ if callable(getattr(fastgd, name))}
    public |= {
        (part.__name__, name)
        for part in (data, optimizers, schedules, plots)
        for name in part.__all__
        if callable(getattr(part, name))
    }
    public |= {("fastgd.exceptions", name) for name in vars(exceptions) if not name.startswith("_")}
    # Two errors have a name in the package as well.
    public -= {("fastgd", name) for name in vars(exceptions)}
    missing = public - listed
    assert missing == set()
    for part, name in listed:
        assert hasattr(importlib.import_module(part), name)


def test_page_of_the_command_shows_the_help_of_all() -> None:
    text = (DOCS / "command.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"\nfastgd {name} --help\n" in text, name


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html#part">b</a><a href="#top">up</a>')
    (tmp_path / "b.html").write_text('<h2 id="part"></h2><a href="c.html">c</a><a href="a.html#absent">a</a>')
    assert broken_links(tmp_path) == ["b.html: a.html#absent", "b.html: c.html"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if cells(page)], ids=[n for n, p in zip(NAMES, PAGES, strict=True) if cells(p)]
)
def test_code_of_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python cells run without Jupyter; the site's build runs commands and the simulated GPU as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {}
    for cell in cells(page):
        if cell.source.startswith("%%bash") or "IPython" in cell.source:
            continue
        for module in re.findall(r"^import (statsmodels|koreanize_matplotlib)", cell.source, re.MULTILINE):
            pytest.importorskip(module)
        expected = pytest.raises(Exception, match=r".") if "raises-exception" in cell.tags else contextlib.nullcontext()
        with expected, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            exec(compile(ast.parse(cell.source), page.name, "exec"), names)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    for module in ("myst_nb", "pydata_sphinx_theme", "statsmodels", "koreanize_matplotlib"):
        pytest.importorskip(module, reason="needs the extra 'docs'")
    command = [sys.executable, "-m", "docs", str(tmp_path / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "html" / "index.html").exists()
