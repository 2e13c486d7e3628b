"""Find links of built pages that lead to no file or to no anchor of a page; links to other sites are left out."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The anchors of a page and the targets of its links, pictures, scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the anchors and the targets of an element."""
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.targets.add(value)


@cache
def _parse(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(folder: Path) -> list[str]:
    """Return a line per broken link of the pages below a folder: "PAGE: TARGET"."""
    folder = folder.resolve()
    pages = sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)  # files of the theme
    return [
        f"{path.relative_to(folder)}: {target}"
        for path in pages
        for target in sorted(_parse(path).targets)
        if not _leads_somewhere(path, target)
    ]


def _leads_somewhere(path: Path, target: str) -> bool:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return True
    found = path.parent / unquote(parts.path) if parts.path else path
    if not found.is_file():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or found.suffix != ".html" or anchor in _parse(found.resolve()).anchors
