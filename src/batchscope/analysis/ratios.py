"""The ratio of two thresholds in words, also where one of them lies outside the batch sizes tested."""

from __future__ import annotations

import math

from batchscope.analysis.formatting import bounds_text, number
from batchscope.analysis.thresholds import ThresholdEstimate

Interval = tuple[float, float]


def ratio_text(first: ThresholdEstimate, second: ThresholdEstimate, interval: Interval) -> str:
    """``4 [2, 16]``, or ``> 16 [8, no upper bound]`` where `first` is censored; "" where nothing is known."""
    (low, high), (other_low, other_high) = _range(first), _range(second)
    if math.isnan(low) or math.isnan(other_low):
        return ""
    least, most = low / other_high, high / other_low if other_low > 0 else math.inf
    if least == most:
        value = number(least)
    elif (least > 0) == (most < math.inf):  # open at both ends
        return ""
    else:
        value = f"> {number(least)}" if least > 0 else f"< {number(most)}"
    return f"{value} {bounds_text(interval)}".strip()


def _range(threshold: ThresholdEstimate) -> Interval:
    """The least and the most it can be."""
    if threshold.censored == ">":
        return threshold.largest, math.inf
    return (0.0, threshold.smallest) if threshold.censored == "<" else (threshold.value, threshold.value)
