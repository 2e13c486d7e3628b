"""Run cases and write bench/results/<case>.json: python -m bench.run [--rivals] [--case NAME ...] [--quick].

With --rivals the cases are races to the optimum against whole libraries.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from bench import datasets
from bench.cases import CASES, load
from fastgd.bench.result import RESULTS, Result, write


def main(arguments: list[str] | None = None) -> int:
    """Run the cases named on the command line, or all; return 1 if one of them failed."""
    loops, races = ([name for name, module in CASES.items() if (module is None) == race] for race in (False, True))
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--rivals", action="store_true", help=f"race to the optimum: {', '.join(races)}")
    parser.add_argument("--case", nargs="+", action="extend", metavar="NAME", help=f"of these: {', '.join(loops)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, 3 rounds: to see that all works")
    parser.add_argument("--out", type=Path, help="folder to write to (default: bench/results, quick ones in quick/)")
    options = parser.parse_args(arguments)
    cases = races if options.rivals else loops
    unknown = set(options.case or ()) - set(cases)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    folder = options.out or (RESULTS / "quick" if options.quick else RESULTS)
    failed = [case for case in options.case or cases if not run_case(case, load(case), options.quick, folder)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_case(case: str, run: Callable[[bool], Result], quick: bool, folder: Path) -> bool:
    """Run a case, write and print its result; return whether it did not fail."""
    start = time.perf_counter()
    try:
        result = run(quick)
    except Exception:
        traceback.print_exc()
        return False
    path = write(case, result, folder, quick)
    print(f"\n{case}: {time.perf_counter() - start:.0f} s, written to {path}")
    print("\n".join(result.lines), flush=True)
    return True


def run_named(
    module: str,
    description: str | None,
    cases: Mapping[str, Callable[[bool], Result]],
    arguments: list[str] | None,
    on_files: Collection[str] = (),
) -> int:
    """Run the cases of a module that the command line names, or all; return 1 if one of them failed.

    on_files: those whose data are in the folder that `bench.datasets.folder` names; they are skipped without it.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("case", nargs="*", help=f"of these: {', '.join(cases)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: to see that all works")
    parser.add_argument("--out", type=Path, help="folder to write to (default: bench/results, quick ones in quick/)")
    options = parser.parse_args(arguments)
    unknown = set(options.case) - set(cases)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    folder = options.out or (RESULTS / "quick" if options.quick else RESULTS)
    succeeded = True
    for case in options.case or cases:
        if case in on_files and not datasets.folder().is_dir():
            print(f"{case}: skipped, there is no folder {datasets.folder()}; set FASTGD_BENCH_DATA")
        else:
            succeeded &= run_case(case, cases[case], options.quick, folder)
    return int(not succeeded)


if __name__ == "__main__":
    sys.exit(main())
