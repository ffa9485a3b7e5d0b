"""Two thresholds against each other: a probability, and the ratio in words, also where one lies outside the sweep."""

from __future__ import annotations

import math

from batchscope.analysis.formatting import bounds_text, number
from batchscope.analysis.intervals import probability_greater, surest
from batchscope.analysis.threshold_estimate import ThresholdEstimate

Interval = tuple[float, float]


def probability_larger(first: ThresholdEstimate, second: ThresholdEstimate) -> tuple[float, float]:
    """(P(first > second) with ties counted half, P(tie)) from the paired resamples, NaN without any.

    The first is no surer than `most_supported`.
    """
    if not len(first.samples) or not len(second.samples):
        return math.nan, math.nan
    probability, tie = probability_greater(first.samples, second.samples)
    most = most_supported(first, second)
    return min(max(probability, 1 - most), most) if not math.isnan(probability) else probability, tie


def most_supported(first: ThresholdEstimate, second: ThresholdEstimate) -> float:
    """The largest probability that the runs support, by the shape with the fewer; resamples that agree prove nothing.

    A threshold rests on the runs of all batch sizes, and its resamples know how few there are at each.
    """
    resamples = min(len(first.samples), len(second.samples))
    return min(surest(min(one.n for one in (first, second))), 1 - 1 / (resamples + 1))


def ratio_text(first: ThresholdEstimate, second: ThresholdEstimate, interval: Interval) -> str:
    """``4 [2, 16]``, or ``> 16 [8, no upper bound]`` where `first` is censored; "" where nothing is known."""
    least, most = ratio_bounds(first, second)
    if math.isnan(least):
        return ""
    if least == most:
        value = number(least)
    elif (least > 0) == (most < math.inf):  # open at both ends
        return ""
    else:
        value = f"> {number(least)}" if least > 0 else f"< {number(most)}"
    return f"{value} {bounds_text(interval)}".strip()


def ratio_bounds(first: ThresholdEstimate, second: ThresholdEstimate) -> Interval:
    """The least and the most that first / second can be, equal where both are numbers; NaN where nothing is known."""
    (low, high), (other_low, other_high) = _range(first), _range(second)
    if math.isnan(low) or math.isnan(other_low):
        return math.nan, math.nan
    return low / other_high, high / other_low if other_low > 0 else math.inf


def _range(threshold: ThresholdEstimate) -> Interval:
    """The least and the most it can be."""
    if threshold.censored == ">":
        return threshold.largest, math.inf
    return (0.0, threshold.smallest) if threshold.censored == "<" else (threshold.value, threshold.value)
