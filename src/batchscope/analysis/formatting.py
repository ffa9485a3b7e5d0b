"""How this room's numbers read, in a sentence and in JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def number(value: float) -> str:
    """A batch size or count: whole numbers in full, others with three or four digits: 0.5, 37.2, 1024, 47130.

    "-" for NaN. An infinite number is a bound that is missing, and is put in words (`bounds_text`, `batch_interval`).
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "unbounded"
    if abs(value) < 100 or float(value).is_integer():
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{round(value, min(0, 3 - math.floor(math.log10(abs(value))))):.0f}"


def batch_interval(interval: tuple[float, float], smallest: float, largest: float) -> str:
    """``[512, > 4096]``: an end outside the sweep is printed as a comparison; "" when there is no interval."""
    if any(math.isnan(end) for end in interval):
        return ""
    words = [
        f"< {number(smallest)}" if end <= 0 else f"> {number(largest)}" if end == math.inf else number(end)
        for end in interval
    ]
    return f"[{words[0]}, {words[1]}]"


def bounds_text(interval: tuple[float, float]) -> str:
    """``[2, 16]``, ``[2, no upper bound]`` or ``[no bounds]``, of a quantity above 0; "" when there is no interval.

    Both ends at 0, or beyond every number: nothing is known but what a "<" or ">" before it says.
    """
    if any(math.isnan(end) for end in interval) or interval[1] <= 0 or interval[0] == math.inf:
        return ""
    if interval[0] <= 0 and math.isinf(interval[1]):
        return "[no bounds]"
    low = number(interval[0]) if interval[0] > 0 else "no lower bound"
    high = number(interval[1]) if math.isfinite(interval[1]) else "no upper bound"
    return f"[{low}, {high}]"


def probability_text(value: float, digits: int = 2) -> str:
    """``0.97``, ``0.996``, ``> 0.999``: never 0 or 1, as no number of runs makes sure; "-" for NaN."""
    if math.isnan(value):
        return "-"
    if not 0.001 <= value <= 0.999:
        return "> 0.999" if value > 0.5 else "< 0.001"
    text = f"{value:.{digits}f}"
    return f"{value:.3f}" if float(text) in (0, 1) else text


def plain(value: Any) -> Any:
    """`value` for JSON: NaN and infinities become None, arrays lists, tuples lists."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
