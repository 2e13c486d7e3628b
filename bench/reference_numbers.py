"""Write tests/reference/torch_numbers.json: iterates of torch.optim, with which the reference's rules are compared.

Run from the root of the checkout, where PyTorch is installed (the `bench` extra): python -m bench.reference_numbers
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fastgd.reference import RULES

TARGET = Path(__file__).resolve().parents[1] / "tests" / "reference" / "torch_numbers.json"
STEPS = 40
ROWS, COLUMNS = 7, 5


class Case(NamedTuple):
    """A run of a rule: the rate of update t is rate * drop^(t - 1); hyper: values that are no defaults."""

    name: str
    rule: str
    rate: float
    drop: float
    l2: float
    hyper: dict[str, float]


def _case(name: str, rule: str, rate: float, drop: float = 1.0, l2: float = 0.0, **hyper: float) -> Case:
    return Case(name, rule, rate, drop, l2, hyper)


# The rate drops only if torch keeps no rate in its state: with momentum its buffer is -V / eta, and ASGD takes up a new
# rate one update late. "saga" needs a sum over rows, which no rule of torch or optax has.
CASES = [
    _case("gd", "gd", 0.05),
    _case("gd, decaying rate, L2", "gd", 0.08, drop=0.97, l2=0.3),
    _case("averaged", "averaged", 0.05),
    _case("averaged from update 15, L2", "averaged", 0.05, l2=0.3, start=15),
    _case("momentum", "momentum", 0.02, momentum=0.9),
    _case("momentum 0.5, L2", "momentum", 0.04, l2=0.2, momentum=0.5),
    _case("lookahead", "lookahead", 0.02, momentum=0.9),
    _case("lookahead 0.5, L2", "lookahead", 0.04, l2=0.2, momentum=0.5),
    _case("nesterov", "nesterov", 0.02, momentum=0.9),
    _case("nesterov 0.5, L2", "nesterov", 0.04, l2=0.2, momentum=0.5),
    _case("adagrad", "adagrad", 0.2),
    _case("adagrad, decaying rate, L2", "adagrad", 0.4, drop=0.97, l2=0.2, eps=0.1),
    _case("rmsprop", "rmsprop", 0.02),
    _case("rmsprop, decaying rate, L2", "rmsprop", 0.1, drop=0.95, l2=0.2),
    _case("rmsprop, other decay", "rmsprop", 0.05, decay=0.99, eps=0.01),
    _case("adam", "adam", 0.05),
    _case("adam, decaying rate, L2", "adam", 0.1, drop=0.95, l2=0.1),
    _case("adam, other betas", "adam", 0.03, beta1=0.7, beta2=0.9, eps=0.001),
    _case("amsgrad, L2", "amsgrad", 0.05, l2=0.1, beta2=0.9),
    _case("amsgrad, decaying rate", "amsgrad", 0.1, drop=0.95, beta1=0.5, eps=0.001),
    _case("nadam", "nadam", 0.05),
    _case("nadam, decaying rate, L2", "nadam", 0.1, drop=0.95, l2=0.1),
    _case("nadam, other decay", "nadam", 0.05, beta1=0.8, momentum_decay=0.5),
    _case("adadelta", "adadelta", 20.0),
    _case("adadelta, decaying rate, L2", "adadelta", 1.0, drop=0.97, l2=0.2, eps=0.01),
    _case("adamw", "adamw", 0.05),
    _case("adamw, decaying rate, L2", "adamw", 0.1, drop=0.95, l2=0.1, weight_decay=0.4),
]


def data() -> tuple[list[list[float]], list[float], list[float]]:
    """Return matrix a, vector c and start of the function: any fixed numbers."""
    a = [[1.5 * math.cos(1 + 3 * i + 5 * j + i * j) for j in range(COLUMNS)] for i in range(ROWS)]
    c = [2.0 * math.sin(2 + 7 * i) for i in range(ROWS)]
    start = [math.sin(4 * j + 1) for j in range(COLUMNS)]
    return a, c, start


def function(theta: torch.Tensor, a: torch.Tensor, c: torch.Tensor, l2: float) -> torch.Tensor:
    """sum_i log cosh(a_i . theta - c_i) + sum_j theta_j^4 / 8 + l2 |theta|^2 / 2: smooth, convex, not quadratic."""
    return torch.log(torch.cosh(a @ theta - c)).sum() + (theta**4).sum() / 8 + l2 / 2 * (theta**2).sum()


def make_optimizer(case: Case, parts: list[torch.Tensor]) -> torch.optim.Optimizer:
    """Return the rule's torch.optim on all coordinates but the last, and on the last, which "adamw" does not decay."""
    hyper = RULES[case.rule].defaults | case.hyper
    groups = [
        {"params": parts[:1], "weight_decay": hyper.get("weight_decay", 0.0)},
        {"params": parts[1:], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {"lr": case.rate}
    options |= {ours: hyper[ours] for ours in ("momentum", "eps", "momentum_decay") if ours in hyper}
    if "beta1" in hyper:
        options["betas"] = (hyper["beta1"], hyper["beta2"])
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "gd": lambda: torch.optim.SGD(groups, **options),
        # Torch's weight of update t is 1 / max(1, t - 1 - t0).
        "averaged": lambda: torch.optim.ASGD(groups, **options, lambd=0.0, alpha=0.0, t0=hyper["start"] - 2),
        "momentum": lambda: torch.optim.SGD(groups, **options),
        "lookahead": lambda: torch.optim.SGD(groups, **options, nesterov=True),
        "nesterov": lambda: torch.optim.SGD(groups, **options, nesterov=True),
        "adagrad": lambda: torch.optim.Adagrad(groups, **options),
        "rmsprop": lambda: torch.optim.RMSprop(groups, **options, alpha=hyper["decay"]),
        "adam": lambda: torch.optim.Adam(groups, **options),
        "amsgrad": lambda: torch.optim.Adam(groups, **options, amsgrad=True),
        "nadam": lambda: torch.optim.NAdam(groups, **options),
        "adadelta": lambda: torch.optim.Adadelta(groups, **options, rho=hyper["decay"]),
        "adamw": lambda: torch.optim.AdamW(groups, **options),
    }
    return makers[case.rule]()


def reported(case: Case, part: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return ASGD's mean; X = Y - mu V of "lookahead", where torch keeps Y and buffer = -V / eta; else the iterate."""
    if case.rule == "averaged":
        return state["ax"]
    if case.rule == "lookahead":
        return part + case.hyper["momentum"] * case.rate * state["momentum_buffer"]
    return part


def iterates(case: Case) -> list[list[float]]:
    a, c, start = (torch.tensor(part) for part in data())
    parts = [start[:-1].clone().requires_grad_(True), start[-1:].clone().requires_grad_(True)]
    optimizer = make_optimizer(case, parts)
    path = []
    for t in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = case.rate * case.drop ** (t - 1)
        optimizer.zero_grad()
        function(torch.cat(parts), a, c, case.l2).backward()
        optimizer.step()
        path.append([number for part in parts for number in reported(case, part, optimizer.state[part]).tolist()])
    return path


def main() -> None:
    torch.set_default_dtype(torch.float64)  # some rules keep numbers in the default type
    a, c, start = data()
    order = ("drop", "l2", "hyper", "name", "rule", "rate")
    full = [{**{key: getattr(case, key) for key in order}, "iterates": iterates(case)} for case in CASES]
    content = {
        "made_by": "python -m bench.reference_numbers",
        "torch": torch.__version__,
        "function": " ".join((function.__doc__ or "").split()),
        "a": a,
        "c": c,
        "start": start,
        "cases": full,
    }
    TARGET.write_text(json.dumps(content, indent=None, separators=(",", ":")).replace('{"drop"', '\n{"drop"') + "\n")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
