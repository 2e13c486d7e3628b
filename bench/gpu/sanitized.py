"""What compute-sanitizer watches: python -m bench.gpu.sanitized runs a check of each kind on small data."""

import sys

from bench.gpu.checks_fits import PENALTIES, auto_check
from bench.gpu.checks_kernels import epoch_check, pass_check, verbs_check
from bench.gpu.checks_streams import stream_check
from tests.kernels.table import ALL

_SHAPE = (307, 13)
_SEED = 5


def main() -> int:
    """1 where a result is wrong; what is wrong with memory the sanitizer says."""
    some = [ALL[0], ALL[11], ALL[22], ALL[31]]
    rules = ("adam", "saga", "nesterov", "averaged")
    found = [
        *(pass_check(case, _SHAPE, _SEED) for case in some),
        *(epoch_check(case, rule, _SEED) for case, rule in zip(some, rules, strict=True)),
        *(verbs_check(case, True, _SEED) for case in some[:2]),
        stream_check(some[0], False, True, _SEED),
        auto_check(some[0], PENALTIES[0], _SEED),
    ]
    wrong = 0
    for name, check in found:
        try:
            check()
        except Exception as error:  # the others are run all the same
            print(f"{name}: {error}", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
