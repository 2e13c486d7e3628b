"""Whether the GPU is right: every loss, rule, dtype and order against the reference and the CPU, on fresh numbers.

The tests' own tables and bounds are used, at sizes of many blocks; the GPU's memory holds NaN before it is used.
`python -m bench.gpu.checks SEED PART PARTS SECONDS` runs a part of them and prints JSON, a line after each check.
"""

import itertools
import json
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from bench.gpu import paths
from bench.gpu.check import Absent, Check
from bench.gpu.checks_arrays import array_checks
from bench.gpu.checks_fits import PENALTIES, auto_check, rule_check, threads_check
from bench.gpu.checks_kernels import SHAPES, epoch_check, pass_check, verbs_check
from bench.gpu.checks_streams import stream_check
from bench.gpu.clock import Budget, over
from bench.gpu.poison import poisoned
from bench.ours import OPTIMIZERS
from tests.kernels.table import ALL, Case

#: What a fit says once nothing runs on the GPU in this process any more.
_LOST = re.compile("the GPU stopped working")


@dataclass
class Checked:
    """What was found: how many checks ran, those that failed, and those for which there was no time.

    left_out: in their order, so that the first is the one that runs, as long as one does.
    absent: checks of libraries that are not there, and why.
    """

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


def run(
    chosen: Iterable[Check], budget: Budget, seconds: float, tell: Callable[[Checked], None] = lambda found: None
) -> Checked:
    """Run checks; `tell` hears what has been found before the first and after each."""
    checks, end = list(chosen), budget.until(seconds)
    found = Checked(left_out=[name for name, _ in checks])
    tell(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs on noise need not converge
        for name, check in checks:
            if over(end):
                break
            lost = _run_one(name, check, found, budget)
            found.left_out.pop(0)
            tell(found)
            if lost:
                break
    return found


def _run_one(name: str, check: Callable[[], None], found: Checked, budget: Budget) -> bool:
    """Run a check; whether the GPU is lost with it."""
    try:
        with poisoned():
            check()
    except Absent as error:
        found.absent[name] = str(error)
        return False
    except Exception as error:  # whatever it is, the others are checked as well
        found.failed.append({"check": name, "error": _told(error)})
        budget.say(f"FAILED {name}: {found.failed[-1]['error'].splitlines()[0]}")
        found.ran += 1
        return bool(_LOST.search(str(error)))
    found.ran += 1
    return False


def few_of(seed: int, small: bool = True) -> Iterator[Check]:
    """Every rule, loss, dtype and order, but not each with each; `small`: where a GPU is only imitated."""
    mixed = [(ALL[(5 * i) % len(ALL)], rule) for i, rule in enumerate(OPTIMIZERS)]
    yield from _of(ALL[::3], mixed, ALL[::6], ("none kept" if small else "many rows", seed))
    yield from array_checks(seed)
    yield threads_check(seed)


def all_of(seed: int, part: int, parts: int) -> Iterator[Check]:
    """Each with each; of `parts` parts one, which compiles kernels that no other does."""
    cases = ALL[part::parts]
    if part == 0:
        yield threads_check(seed)
    yield from array_checks(seed)[part::parts]
    yield from _of(cases, list(itertools.product(cases, OPTIMIZERS)), cases, ("many rows", seed))


def _of(cases: list[Case], pairs: list[tuple[Case, str]], fitted: list[Case], how: tuple[str, int]) -> Iterator[Check]:
    """Checks of cases and of pairs with a rule: what most depends on first, since the last may find no time.

    how: rows of the fits none of whose rows are kept by the host, and the seed.
    """
    rows, seed = how
    yield from (pass_check(case, shape, seed) for case in cases for shape in SHAPES)
    yield from (verbs_check(case, weighted, seed) for case in cases for weighted in (True, False))
    yield from (stream_check(case, *kind, seed) for case in fitted for kind in ((True, False), (False, True)))
    yield from (auto_check(case, penalty, seed) for case in fitted for penalty in PENALTIES)
    yield from (auto_check(case, PENALTIES[0], seed, rows) for case in fitted)
    yield from (epoch_check(case, rule, seed) for case, rule in pairs)
    yield from (rule_check(case, rule, seed) for case, rule in pairs)


def main(seed: int, part: int, parts: int, seconds: float) -> None:
    """Run a part of all checks; the last line printed says what was found, whatever becomes of the process."""

    def tell(found: Checked) -> None:
        print(json.dumps(asdict(found) | {"paths": paths.taken()}), flush=True)

    run(all_of(seed, part, parts), Budget(seconds), seconds, tell)


def _told(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), float(sys.argv[4]))
