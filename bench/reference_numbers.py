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

TARGET = Path(__file__).resolve().parents[1] / "tests" / "reference" / "torch_numbers.json"
STEPS = 40
ROWS, COLUMNS = 7, 5

# rate of update t is rate * drop^(t - 1); torch calls the rules' momentum SGD, and L2 weight decay.
CASES: list[dict[str, Any]] = [
    {"name": "gd", "rule": "gd", "rate": 0.05},
    {"name": "gd, decaying rate, L2", "rule": "gd", "rate": 0.08, "drop": 0.97, "l2": 0.3},
    {"name": "momentum", "rule": "momentum", "rate": 0.02, "hyper": {"momentum": 0.9}},
    {"name": "momentum 0.5, L2", "rule": "momentum", "rate": 0.04, "l2": 0.2, "hyper": {"momentum": 0.5}},
    {"name": "adam", "rule": "adam", "rate": 0.05},
    {"name": "adam, decaying rate, L2", "rule": "adam", "rate": 0.1, "drop": 0.95, "l2": 0.1},
    {"name": "adam, other betas", "rule": "adam", "rate": 0.03, "hyper": {"beta1": 0.7, "beta2": 0.9, "eps": 1e-3}},
]


def data() -> tuple[list[list[float]], list[float], list[float]]:
    """Matrix a, vector c and start of the function; any fixed numbers do."""
    a = [[1.5 * math.cos(1 + 3 * i + 5 * j + i * j) for j in range(COLUMNS)] for i in range(ROWS)]
    c = [2.0 * math.sin(2 + 7 * i) for i in range(ROWS)]
    start = [math.sin(4 * j + 1) for j in range(COLUMNS)]
    return a, c, start


def function(theta: torch.Tensor, a: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """sum_i log cosh(a_i . theta - c_i) + sum_j theta_j^4 / 8: smooth, convex, not quadratic."""
    return torch.log(torch.cosh(a @ theta - c)).sum() + (theta**4).sum() / 8


def make_optimizer(case: dict[str, Any], theta: torch.Tensor) -> torch.optim.Optimizer:
    hyper, common = case.get("hyper", {}), {"lr": case["rate"], "weight_decay": case.get("l2", 0.0)}
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "gd": lambda: torch.optim.SGD([theta], **common),
        "momentum": lambda: torch.optim.SGD([theta], momentum=hyper["momentum"], **common),
        "adam": lambda: torch.optim.Adam(
            [theta],
            betas=(hyper.get("beta1", 0.9), hyper.get("beta2", 0.999)),
            eps=hyper.get("eps", 1e-8),
            **common,
        ),
    }
    return makers[case["rule"]]()


def iterates(case: dict[str, Any]) -> list[list[float]]:
    a, c, start = (torch.tensor(part, dtype=torch.float64) for part in data())
    theta = start.clone().requires_grad_(True)
    optimizer = make_optimizer(case, theta)
    path = []
    for t in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = case["rate"] * case.get("drop", 1.0) ** (t - 1)
        optimizer.zero_grad()
        function(theta, a, c).backward()
        optimizer.step()
        path.append(theta.detach().tolist())
    return path


def main() -> None:
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
