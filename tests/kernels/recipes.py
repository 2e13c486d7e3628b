"""Rules by the names of kernels and reference, with hyper-parameters by the reference's names, as recipes."""

from fastgd import reference
from fastgd.optimizers import KERNEL_RULES, Recipe


def recipe(rule: str, **hyper: float) -> Recipe:
    """The recipe of a rule: the reference's hyper-parameters, in its order, are the kernels' numbers."""
    numbers = list({**reference.RULES[rule].defaults, **hyper}.values())
    return Recipe(KERNEL_RULES[rule], tuple(float(number) for number in numbers + [0.0] * (4 - len(numbers))))
