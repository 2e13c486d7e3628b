"""What is measured in a process of its own; each module prints JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench.machine import ROOT


def call(arguments: list[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run Python with these arguments from the root of the checkout, and read the JSON that it prints."""
    variables = {**os.environ, **(environment or {})}
    # Users' imports are cached as byte code.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed with {done.returncode}:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
