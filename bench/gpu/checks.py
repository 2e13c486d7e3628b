"""Whether the GPU is right: every loss, rule, dtype and order against the reference and the CPU, on fresh numbers.

The tests' own tables and bounds are used, at sizes of many blocks; the GPU's memory holds NaN before it is used.
`python -m bench.gpu.checks SEED PART PARTS SECONDS` runs a part of them and prints JSON.
"""

import itertools
import json
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

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

    absent: checks of libraries that are not there, and why.
    """

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


def run(chosen: Iterable[Check], budget: Budget, seconds: float) -> Checked:
    """Run checks."""
    found, end, lost = Checked(), budget.until(seconds), False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs on noise need not converge
        for name, check in chosen:
            if lost or over(end):
                found.left_out.append(name)
                continue
            try:
                with poisoned():
                    check()
            except Absent as error:
                found.absent[name] = str(error)
                continue
            except Exception as error:  # whatever it is, the others are checked as well
                found.failed.append({"check": name, "error": _told(error)})
                budget.say(f"FAILED {name}: {found.failed[-1]['error'].splitlines()[0]}")
                lost = bool(_LOST.search(str(error)))
            found.ran += 1
    return found


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
    """Run a part of all checks and print which has begun, then what was found."""
    print(json.dumps(asdict(run(_announced(all_of(seed, part, parts)), Budget(seconds), seconds))))


def _announced(chosen: Iterable[Check]) -> Iterator[Check]:
    """Checks, the name of each printed before it is run: the last one is that which never came to its end."""
    for name, check in chosen:
        print(json.dumps({"begun": name}), flush=True)
        yield name, check


def _told(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), float(sys.argv[4]))
