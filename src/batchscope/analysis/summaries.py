"""What the seeds of a cell say of one quantity: a median or a mean with an interval, or a bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from batchscope.analysis.formatting import number
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.sweeps import Array

ABOVE, BELOW = ">", "<="


@dataclass(frozen=True)
class Summary:
    """What the n seeds of a cell say of one quantity.

    value: as the module says. least, most: of the seeds as they were seen. low, high: 95 % interval of the value, None
    without one. bound: "" for a number; ">" (too few seeds arrived) and "<=" (half of them did by the first check)
    where only a bound is known, which `value` then is.
    """

    value: float
    n: int
    least: float
    most: float
    low: float | None = None
    high: float | None = None
    bound: str = ""

    def __str__(self) -> str:
        if self.bound:
            return f"{self.bound} {number(self.value)}"
        if self.low is None or self.high is None:
            return number(self.value)
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def summarise(values: Sequence[float]) -> Summary | None:
    """Mean, spread and Student interval of `values`; None for no values."""
    if not values:
        return None
    n, mean, least, most = len(values), math.fsum(values) / len(values), min(values), max(values)
    if n < 2:
        return Summary(mean, n, least, most)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(n)
    factor = math.exp(half / mean) if mean > 0 else 1.0
    return Summary(mean, n, least, most, mean / factor, mean * factor)


def median_of(steps: Array, before: Array, ends: tuple[float, float, float]) -> Summary:
    """Steps of the runs of one cell [n], and (median, low, high) of the likelihood."""
    seen = np.where(np.isfinite(steps), steps, before)
    n, least, most = len(steps), float(seen.min()), float(seen.max())
    value, low, high = (float(end) for end in ends)
    stopped = before[np.isinf(steps)]
    if len(stopped) and not value <= stopped.max():  # no seed arrived, or too few to say when half of them would have
        return Summary(float(stopped.max()), n, least, most, bound=ABOVE)
    early = steps[(before <= 0) & np.isfinite(steps)]
    if math.isnan(value):
        return Summary(most, n, least, most, bound=BELOW)
    if len(early) and value < early.max():  # half of them by the first check: how much earlier was not seen
        return Summary(float(early.max()), n, least, most, bound=BELOW)
    if math.isnan(low):
        return Summary(value, n, least, most)
    return Summary(value, n, least, most, max(low, min(value, 1.0)), high)  # a target is met after a step at least


def scaled(steps: Summary, factor: float) -> Summary:
    """The same in epochs."""
    value, least, most = (_clean(end * factor) for end in (steps.value, steps.least, steps.most))
    low, high = (None if end is None else _clean(end * factor) for end in (steps.low, steps.high))
    return Summary(value, steps.n, least, most, low, high, steps.bound)


def _clean(value: float) -> float:
    """Without the noise of a multiplication: 7.000000000000001 epochs are 7."""
    return float(f"{value:.12g}")
