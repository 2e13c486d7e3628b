"""Measure the structure of the code: `python -m bench.house`.

Counts the files and the Python calls that a warm default fit enters, the files whose functions hold the learning rate
of Adam on its way to the compiled loop, circles of imports (type checking included), and lines.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import grimp
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from fastgd.optimizers import Adam

ROOT = Path(__file__).resolve().parents[1]
#: A learning rate that no other number equals.
_RATE = 0.0123456789


def calls_of(run: Callable[[], Any]) -> Counter[tuple[str, str]]:
    """Count the calls of our Python functions by (file, function)."""
    found: Counter[tuple[str, str]] = Counter()

    def count(frame: FrameType, event: str) -> None:
        if event == "call":
            found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    profile(run, count)
    return found


def profile(run: Callable[[], Any], on_event: Callable[[FrameType, str], None]) -> None:
    """Run with a callback for the events of our Python functions."""
    folders = tuple(str(ROOT / folder) for folder in ("fastgd", "kernels"))

    def ours(frame: FrameType, event: str, _: Any) -> None:
        if frame.f_code.co_filename.startswith(folders):
            on_event(frame, event)

    sys.setprofile(ours)
    try:
        run()
    finally:
        sys.setprofile(None)


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


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or not, at any place; those for type checking included."""
    graph = grimp.build_graph("fastgd", exclude_type_checking_imports=False, cache_dir=None)
    names = sorted(graph.modules)
    imported = map(graph.find_modules_directly_imported_by, names)
    edges = [[other in its for other in names] for its in imported]
    count, group = connected_components(csr_array(edges), connection="strong")
    groups = ([name for name, its in zip(names, group, strict=True) if its == number] for number in range(count))
    return [found for found in groups if len(found) > 1]


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

    def look(frame: FrameType, event: str) -> None:
        if event == "return" and any(map(holds_rate, list(frame.f_locals.values()))):
            found[frame.f_code.co_filename] = None

    profile(default_fit(Adam(_RATE)), look)
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
    rings = circles()
    print(f"import circles: {len(rings)}")
    for ring in rings:
        print("  " + ", ".join(ring))
    print(
        f"lines: fastgd + kernels {lines('fastgd') + lines('kernels')}, bench {lines('bench')}, tests {lines('tests')}"
    )


if __name__ == "__main__":
    main()
