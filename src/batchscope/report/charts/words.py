"""How numbers with their intervals read on the page."""

from __future__ import annotations

import math

from batchscope.analysis import Correlation, ThresholdEstimate
from batchscope.analysis.formatting import bounds_text, number


def interval_text(interval: tuple[float, float]) -> str:
    """Such as "[-0.1, 0.9]"; "" when there is none."""
    return "" if any(math.isnan(end) for end in interval) else f"[{number(interval[0])}, {number(interval[1])}]"


def positive_text(value: float, interval: tuple[float, float]) -> str:
    """A quantity above 0: "12 [10, 31]"; "- [no lower bound, 31]" where it is only bounded."""
    return f"{number(value) if 0 < value < math.inf else '-'} {bounds_text(interval)}".strip()


def threshold_text(estimate: ThresholdEstimate) -> str:
    """Such as "256 [128, > 512]"."""
    return f"{estimate.text} {estimate.interval_text}".strip()


def correlation_text(correlation: Correlation) -> str:
    """The correlation in a sentence."""
    return f"{correlation.sentence[:1].upper()}{correlation.sentence[1:]}"
