"""Names of parametrized tests."""

import re


def name_of(value: object) -> str:
    """Return repr(value) without addresses, which differ between the workers of pytest-xdist."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
