"""Widths, depths and parameter counts of fully-connected networks, in closed form.

Depth L counts *hidden* layers, as in the paper's experiments, so a net has L + 1 weight matrices (its theorems count
matrices). A budget p counts weights only, as in the paper (section 5):  d_in K + (L - 1) K^2 + K d_out = p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from batchscope.errors import InputError, shown

LARGEST_BUDGET = 10**15  # far beyond what can be trained; formulas in float64 are exact to the unit there


def count_weights(d_in: int, d_out: int, depth: int, width: int) -> int:
    """Return d_in K + (L - 1) K^2 + K d_out, the weights of a net with `depth` hidden layers of `width` units.

    >>> count_weights(d_in=784, d_out=10, depth=10, width=17)
    16099
    """
    _require_positive(d_in=d_in, d_out=d_out, depth=depth, width=width)
    return d_in * width + (depth - 1) * width**2 + width * d_out


def count_parameters(d_in: int, d_out: int, depth: int, width: int) -> int:
    """Return the weights plus one bias per hidden unit and output.

    >>> count_parameters(d_in=784, d_out=10, depth=10, width=17)
    16279
    """
    return count_weights(d_in, d_out, depth, width) + depth * width + d_out


def solve_width(budget: int, depth: int, d_in: int, d_out: int) -> int:
    """Return the integer K nearest to the positive root of d_in K + (L - 1) K^2 + K d_out = budget.

    Raises InputError when even one unit per layer exceeds the budget by more than rounding allows (root below 1/2).

    >>> [solve_width(budget=16_000, depth=depth, d_in=784, d_out=10) for depth in (1, 2, 5, 10)]
    [20, 20, 18, 17]
    """
    _require_positive(budget=budget, depth=depth, d_in=d_in, d_out=d_out)
    root = _positive_root(budget, depth, d_in, d_out)
    if root < 0.5:
        smallest = count_weights(d_in, d_out, depth, 1)
        raise InputError(
            f"a budget of {budget} weights is too small for {depth} hidden layers between {d_in} inputs and {d_out} "
            f"outputs: one unit per layer takes {smallest}; raise the budget or lower the depth"
        )
    return max(1, round(root))


def nearest_width(budget: int, count: Callable[[int], int]) -> int:
    """Return the width >= 1 whose `count`, a function that grows with width, is nearest to the budget; ties go down.

    Raises InputError when the narrowest network is above the budget by more than half of itself.

    >>> nearest_width(100, lambda width: 3 * width**2)
    6
    """
    if count(1) > 1.5 * budget:
        raise InputError(
            f"a budget of {budget} parameters is too small: the narrowest network takes {count(1)}; raise the budget "
            "or lower the depth"
        )
    above = 1
    while count(above) < budget:
        above *= 2
    below = max(1, above // 2)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if count(middle) < budget else (below, middle)
    return min(below, above, key=lambda width: (abs(count(width) - budget), width))


def solve_depth(budget: int, width: int, d_in: int, d_out: int) -> int:
    """Return the number of hidden layers L >= 1 nearest to the budget at a given width, the reverse of `solve_width`.

    >>> solve_depth(budget=16_000, width=17, d_in=784, d_out=10)
    10
    """
    _require_positive(budget=budget, width=width, d_in=d_in, d_out=d_out)
    shallowest = count_weights(d_in, d_out, 1, width)
    if budget < shallowest - width**2 / 2:
        raise InputError(
            f"a budget of {budget} weights is too small for width {width}: one hidden layer takes {shallowest}; "
            "raise the budget or lower the width"
        )
    return max(1, 1 + round((budget - shallowest) / width**2))


def shapes_within(
    budget: int, d_in: int, d_out: int, depths: Iterable[int], tolerance: float = 0.05
) -> list[tuple[int, int]]:
    """Return every (depth, width) whose weight count is within `tolerance` (a fraction) of the budget, by depth.

    >>> shapes_within(16_000, 784, 10, depths=(1, 10), tolerance=0.03)
    [(1, 20), (10, 17)]
    """
    if tolerance < 0:
        raise InputError(f"tolerance {tolerance} is negative; expected a fraction such as 0.05 for 5 %")
    found = []
    for depth in depths:
        low = _positive_root(budget * (1 - tolerance), depth, d_in, d_out) if tolerance < 1 else 0.0
        high = _positive_root(budget * (1 + tolerance), depth, d_in, d_out)
        candidates = range(max(1, math.floor(low)), math.ceil(high) + 1)
        found += [
            (depth, width)
            for width in candidates
            if abs(count_weights(d_in, d_out, depth, width) - budget) <= tolerance * budget
        ]
    return found


def _positive_root(budget: float, depth: int, d_in: int, d_out: int) -> float:
    linear, square = d_in + d_out, depth - 1
    # 2p / (b + sqrt(b^2 + 4ap)): the root without cancellation, valid for a = 0 too.
    return 2 * budget / (linear + math.sqrt(linear**2 + 4 * square * budget))


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if not 1 <= number <= LARGEST_BUDGET or number != int(number):
            raise InputError(
                f"{name} = {shown(number)}; expected a whole number of at least 1, and at most {LARGEST_BUDGET:.0e}"
            )
