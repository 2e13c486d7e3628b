"""How findings are put into words, in README and on the terminal."""

from bench.result import Finding

#: Ratios below this are told with a digit more.
_SMALL = 2.0


def quantity(value: float, unit: str) -> str:
    """Three digits, seconds in the unit that suits them."""
    if unit == "s" and value < 1.0:
        value, unit = 1e3 * value, "ms"
    return f"{digits(value)} {unit}"


def digits(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(finding: Finding) -> tuple[str, str]:
    """What it is, and its range in brackets; both empty where there is none."""
    if finding.ratio is None or not finding.arrived:
        return "", ""
    spread = [finding.ratio[key] for key in ("median", "min", "max")]
    if finding.kind == "share":
        median, low, high = (digits(100 * value) for value in spread)
        return f"{median} %", f"({low} to {high})"
    places = 2 if finding.kind == "cost" or spread[0] < _SMALL else 1
    median, low, high = (f"{value:.{places}f}" for value in spread)
    return f"{median} times", f"as {'long' if finding.kind == 'cost' else 'fast'} ({low} to {high})"


def bounds(finding: Finding) -> str:
    """What the project holds itself to, in the unit of what is judged; empty where there is nothing."""
    both = (("at least", finding.at_least), ("at most", finding.at_most))
    return ", ".join(f"{word} {_bound(finding, bound)}" for word, bound in both if bound is not None)


def _bound(finding: Finding, bound: float) -> str:
    if finding.ratio is None:
        return quantity(bound, finding.unit)
    return f"{digits(100 * bound)} %" if finding.kind == "share" else f"{bound:g} times"
