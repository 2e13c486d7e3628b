"""Run cases and write bench/results/<case>.json: python -m bench.run [--rivals] [--case NAME ...] [--quick].

With --rivals the cases are races to the optimum against whole libraries.
"""

import argparse
import os
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from bench import races
from bench.cases import CASES, load
from bench.races import RACES
from bench.report import lines
from bench.result import RESULTS, Finding, Result, write
from bench.rivals import ADAPTERS
from bench.wording import bounds, quantity, ratio


def main(arguments: list[str] | None = None) -> int:
    """Run the cases named on the command line, or all; 1 if one of them failed, whatever was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--rivals", action="store_true", help=f"race to the optimum: {', '.join(RACES)}")
    parser.add_argument("--case", nargs="+", action="extend", metavar="NAME", help=f"of these: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, 3 rounds: to see that all works")
    parser.add_argument("--out", type=Path, help="folder to write to (default: bench/results, quick ones in quick/)")
    parser.add_argument("--data", help="folder with further data, in place of $FASTGD_BENCH_DATA")
    options = parser.parse_args(arguments)
    cases = list(RACES) if options.rivals else CASES
    unknown = set(options.case or ()) - set(cases)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    if options.data:
        os.environ["FASTGD_BENCH_DATA"] = options.data
    folder = options.out or (RESULTS / "quick" if options.quick else RESULTS)
    failed = []
    for case in options.case or cases:
        start = time.perf_counter()
        try:
            result = races.run(case, options.quick) if options.rivals else load(case)(options.quick)
        except races.NoData as error:
            print(f"\n{case}: left out, {error}")
            continue
        except Exception:
            traceback.print_exc()
            failed.append(case)
            continue
        path = write(case, result, folder, options.quick)
        print(f"\n{case}: {time.perf_counter() - start:.0f} s, written to {path}")
        print("\n".join(told_race(result) if options.rivals else told(result)))
        sys.stdout.flush()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def told(result: Result) -> list[str]:
    """All findings, and what could not be measured."""
    missing = [f"  not measured: {rival} ({error})" for rival, error in result.missing.items()]
    return [*map(line, result.findings), *missing]


def told_race(result: Result) -> list[str]:
    """All seconds in a table, the findings that bounds are about, and libraries that are missing."""
    judged = [f for f in result.findings if f.in_readme or f.at_least is not None or f.at_most is not None]
    missing = {rival: error for rival, error in result.missing.items() if rival in ADAPTERS}
    return [*lines(result), *told(replace(result, findings=judged, missing=missing))]


def line(finding: Finding) -> str:
    """A finding for the terminal."""
    told = " ".join(filter(None, ratio(finding)))
    verdict = " ".join(filter(None, ["MISSED" if finding.missed else "", f"[{bounds(finding) or 'no bound'}]"]))
    numbers = ", ".join(filter(None, [quantity(finding.value, finding.unit), told]))
    return f"  {finding.what}\n    {numbers} {verdict}" + (f"  | {finding.against}" if finding.against else "")


if __name__ == "__main__":
    sys.exit(main())
