"""Measure the structure of the code: `python -m bench.house`.

Counts the files and the Python calls that a warm default fit enters, the files whose functions hold the learning rate
of Adam on its way to the compiled loop, circles of imports (type checking included), and lines.
"""

import ast
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fastgd.optimizers import Adam

ROOT = Path(__file__).resolve().parents[1]
#: A learning rate that no other number equals.
_RATE = 0.0123456789


def calls_of(run: Any) -> Counter[tuple[str, str]]:
    """Count the calls of our Python functions by (file, function)."""
    found: Counter[tuple[str, str]] = Counter()
    folders = tuple(str(ROOT / folder) for folder in ("fastgd", "kernels"))

    def profile(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folders):
            found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def default_fit(optimizer: Any = "auto") -> Any:
    """Return a function that fits 60,000 x 20 logistic rows again, once warm."""
    from fastgd import LogisticRegression

    random = np.random.default_rng(0)
    X = random.standard_normal((60_000, 20))
    y = random.random(60_000) < 1.0 / (1.0 + np.exp(-X @ random.standard_normal(20)))
    model = LogisticRegression(optimizer=optimizer, max_iter=None if optimizer == "auto" else 2, random_state=0)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)

    run()
    return run


def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for folder, name in ((ROOT / "fastgd", "fastgd"), (ROOT / "kernels", "fastgd.kernels")):
        for path in folder.rglob("*.py"):
            if not (folder.name == "fastgd" and "kernels" in path.parts):
                parts = path.relative_to(folder).with_suffix("").parts
                found[".".join([name, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """For each module those that it imports at any place, those for type checking included."""
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= {one if one in known else node.module for one in inside}
            elif isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
        found[name] = (wanted & known.keys()) - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for name in graph:
        if name not in index:
            visit(name)
    return [circle for circle in found if len(circle) > 1]


def holds_rate(value: Any) -> bool:
    """Whether a value is the rate of `rate_path`, an array of it, or an object with a field that is."""
    if isinstance(value, np.ndarray):
        return value.dtype == np.float64 and value.size > 0 and bool(np.any(value == _RATE))
    if isinstance(value, float):
        return value == _RATE
    carries = hasattr(value, "learning_rate") or "rate" in type(value).__name__.lower()
    fields = getattr(value, "__dict__", {}).values() if carries else ()
    return any(isinstance(field, float) and field == _RATE for field in fields)


def rate_path() -> list[str]:
    """Files whose functions hold the learning rate of Adam, on its way from the parameter to the compiled loop."""
    found: dict[str, None] = {}
    folders = tuple(str(ROOT / folder) for folder in ("fastgd", "kernels"))

    def profile(frame: Any, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "return" and name.startswith(folders) and any(map(holds_rate, list(frame.f_locals.values()))):
            found[name] = None

    run = default_fit(Adam(_RATE))
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return list(found)


def lines(folder: str) -> int:
    """Lines of Python in a folder."""
    paths = [
        path
        for path in (ROOT / folder).rglob("*.py")
        if path.relative_to(ROOT).parts[:2] not in (("fastgd", "kernels"), ("fastgd", "bench"))
    ]
    return sum(len(path.read_text().splitlines()) for path in paths)


def main() -> None:
    """Print all measures."""
    found = calls_of(default_fit())
    print(f"default fit 60,000 x 20: {len({file for file, _ in found})} files, {found.total()} calls")
    for file, number in Counter(file for file, _ in found.elements()).most_common():
        print(f"  {number:5d} {Path(file).relative_to(ROOT)}")
    path = rate_path()
    print(f"learning_rate of Adam: {len(path)} files\n  " + "\n  ".join(str(Path(f).relative_to(ROOT)) for f in path))
    rings = circles(imports(modules()))
    print(f"import circles: {len(rings)}")
    for ring in rings:
        print("  " + ", ".join(ring))
    print(
        f"lines: fastgd + kernels {lines('fastgd') + lines('kernels')}, bench {lines('bench')}, tests {lines('tests')}"
    )


if __name__ == "__main__":
    main()
