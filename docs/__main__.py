"""Build the documentation, run all of its code, and check its links: python -m docs [FOLDER] [--changed].

Needs the extra `docs`. FOLDER receives the site (default: docs/_build/html). `--changed` keeps the pages of the last
build that have not changed since; their code is not run again, although the package may have changed.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from docs.links import broken_links

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Build the site and return the exit status: 1 after a warning or for a broken link."""
    parser = argparse.ArgumentParser(prog="python -m docs", description="Build the documentation and check its links.")
    parser.add_argument("folder", nargs="?", default=ROOT / "docs" / "_build" / "html", type=Path)
    parser.add_argument("--changed", action="store_true", help="run only the pages that have changed")
    parser.add_argument("--jobs", default=os.cpu_count(), type=int, help="processes (default: %(default)s)")
    options = parser.parse_args()
    # The processes that run code use the package of this checkout, and the command of this environment.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    try:
        from sphinx.cmd.build import build_main
    except ModuleNotFoundError:
        print("The documentation needs Sphinx: pip install '.[docs]' in the checkout", file=sys.stderr)
        return 1

    if not options.changed:
        # Pages of sources and names that are gone; `.buildinfo` marks a folder that Sphinx has written.
        shutil.rmtree(ROOT / "docs" / "api" / "generated", ignore_errors=True)
        if (options.folder / ".buildinfo").exists():
            shutil.rmtree(options.folder)
    doctrees = options.folder.parent / "doctrees"
    fresh = [] if options.changed else ["--fresh-env", "--write-all"]
    places = ["--doctree-dir", str(doctrees), str(ROOT / "docs"), str(options.folder)]
    status = build_main(["--fail-on-warning", "--quiet", "--jobs", str(options.jobs), *fresh, *places])
    if status:
        return status
    broken = broken_links(options.folder)
    print("\n".join(broken) or f"The site is complete: {options.folder / 'index.html'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
