"""Run by IPython before the code cells of a page."""

import subprocess

from IPython.core.magic import register_cell_magic


@register_cell_magic
def bash(line: str, cell: str) -> None:
    """Run commands and show their output in one piece; IPython's own magic cuts it, and lines break at the cuts."""
    done = subprocess.run(["bash", "-eu", "-c", cell], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    done.check_returncode()


del bash
