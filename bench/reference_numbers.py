"""Write tests/reference/torch_numbers.json: the iterates of torch.optim that the reference's rules are tested against.

Run from the root of the checkout, where PyTorch is installed (the `bench` extra): python -m bench.reference_numbers
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fastgd.reference import RULES

TARGET = Path(__file__).resolve().parents[1] / "tests" / "reference" / "torch_numbers.json"
STEPS = 40
ROWS, COLUMNS = 7, 5

# The rate of update t is rate * drop^(t - 1). It drops only where torch keeps no rate in its state: with momentum its
# buffer is -V / eta, and ASGD takes up a new rate one update late. "saga" needs a sum over rows, which no rule of torch
# or optax knows.
CASES: list[dict[str, Any]] = [
    {"name": "gd", "rule": "gd", "rate": 0.05},
    {"name": "gd, decaying rate, L2", "rule": "gd", "rate": 0.08, "drop": 0.97, "l2": 0.3},
    {"name": "averaged", "rule": "averaged", "rate": 0.05},
    {"name": "averaged from update 15, L2", "rule": "averaged", "rate": 0.05, "l2": 0.3, "hyper": {"start": 15}},
    {"name": "momentum", "rule": "momentum", "rate": 0.02, "hyper": {"momentum": 0.9}},
    {"name": "momentum 0.5, L2", "rule": "momentum", "rate": 0.04, "l2": 0.2, "hyper": {"momentum": 0.5}},
    {"name": "lookahead", "rule": "lookahead", "rate": 0.02, "hyper": {"momentum": 0.9}},
    {"name": "lookahead 0.5, L2", "rule": "lookahead", "rate": 0.04, "l2": 0.2, "hyper": {"momentum": 0.5}},
    {"name": "nesterov", "rule": "nesterov", "rate": 0.02, "hyper": {"momentum": 0.9}},
    {"name": "nesterov 0.5, L2", "rule": "nesterov", "rate": 0.04, "l2": 0.2, "hyper": {"momentum": 0.5}},
    {"name": "adagrad", "rule": "adagrad", "rate": 0.2},
    {
        "name": "adagrad, decaying rate, L2",
        "rule": "adagrad",
        "rate": 0.4,
        "drop": 0.97,
        "l2": 0.2,
        "hyper": {"eps": 0.1},
    },
    {"name": "rmsprop", "rule": "rmsprop", "rate": 0.02},
    {"name": "rmsprop, decaying rate, L2", "rule": "rmsprop", "rate": 0.1, "drop": 0.95, "l2": 0.2},
    {"name": "rmsprop, other decay", "rule": "rmsprop", "rate": 0.05, "hyper": {"decay": 0.99, "eps": 1e-2}},
    {"name": "adam", "rule": "adam", "rate": 0.05},
    {"name": "adam, decaying rate, L2", "rule": "adam", "rate": 0.1, "drop": 0.95, "l2": 0.1},
    {"name": "adam, other betas", "rule": "adam", "rate": 0.03, "hyper": {"beta1": 0.7, "beta2": 0.9, "eps": 1e-3}},
    {"name": "amsgrad, L2", "rule": "amsgrad", "rate": 0.05, "l2": 0.1, "hyper": {"beta2": 0.9}},
    {
        "name": "amsgrad, decaying rate",
        "rule": "amsgrad",
        "rate": 0.1,
        "drop": 0.95,
        "hyper": {"beta1": 0.5, "eps": 1e-3},
    },
    {"name": "nadam", "rule": "nadam", "rate": 0.05},
    {"name": "nadam, decaying rate, L2", "rule": "nadam", "rate": 0.1, "drop": 0.95, "l2": 0.1},
    {"name": "nadam, other decay", "rule": "nadam", "rate": 0.05, "hyper": {"beta1": 0.8, "momentum_decay": 0.5}},
    {"name": "adadelta", "rule": "adadelta", "rate": 20.0},
    {
        "name": "adadelta, decaying rate, L2",
        "rule": "adadelta",
        "rate": 1.0,
        "drop": 0.97,
        "l2": 0.2,
        "hyper": {"eps": 0.01},
    },
    {"name": "adamw", "rule": "adamw", "rate": 0.05},
    {
        "name": "adamw, decaying rate, L2",
        "rule": "adamw",
        "rate": 0.1,
        "drop": 0.95,
        "l2": 0.1,
        "hyper": {"weight_decay": 0.4},
    },
]


def data() -> tuple[list[list[float]], list[float], list[float]]:
    """Matrix a, vector c and start of the function; any fixed numbers do."""
    a = [[1.5 * math.cos(1 + 3 * i + 5 * j + i * j) for j in range(COLUMNS)] for i in range(ROWS)]
    c = [2.0 * math.sin(2 + 7 * i) for i in range(ROWS)]
    start = [math.sin(4 * j + 1) for j in range(COLUMNS)]
    return a, c, start


def function(theta: torch.Tensor, a: torch.Tensor, c: torch.Tensor, l2: float) -> torch.Tensor:
    """sum_i log cosh(a_i . theta - c_i) + sum_j theta_j^4 / 8 + l2 |theta|^2 / 2: smooth, convex, not quadratic."""
    return torch.log(torch.cosh(a @ theta - c)).sum() + (theta**4).sum() / 8 + l2 / 2 * (theta**2).sum()


def make_optimizer(case: dict[str, Any], parts: list[torch.Tensor]) -> torch.optim.Optimizer:
    """The rule's torch.optim on all coordinates but the last, and on the last, which "adamw" does not decay."""
    hyper = RULES[case["rule"]].defaults | case.get("hyper", {})
    groups = [
        {"params": parts[:1], "weight_decay": hyper.get("weight_decay", 0.0)},
        {"params": parts[1:], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {"lr": case["rate"]}
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
    return makers[case["rule"]]()


def reported(case: dict[str, Any], part: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the rule reports: ASGD's mean; X = Y - mu V of "lookahead", where torch keeps Y and buffer = -V / eta."""
    if case["rule"] == "averaged":
        return state["ax"]
    if case["rule"] == "lookahead":
        return part + case["hyper"]["momentum"] * case["rate"] * state["momentum_buffer"]
    return part


def iterates(case: dict[str, Any]) -> list[list[float]]:
    a, c, start = (torch.tensor(part) for part in data())
    parts = [start[:-1].clone().requires_grad_(True), start[-1:].clone().requires_grad_(True)]
    optimizer = make_optimizer(case, parts)
    path = []
    for t in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = case["rate"] * case.get("drop", 1.0) ** (t - 1)
        optimizer.zero_grad()
        function(torch.cat(parts), a, c, case.get("l2", 0.0)).backward()
        optimizer.step()
        path.append([number for part in parts for number in reported(case, part, optimizer.state[part]).tolist()])
    return path


def main() -> None:
    torch.set_default_dtype(torch.float64)  # some rules keep numbers in the default type
    a, c, start = data()
    full = [{"drop": 1.0, "l2": 0.0, "hyper": {}, **case, "iterates": iterates(case)} for case in CASES]
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
