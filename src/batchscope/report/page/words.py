"""How numbers with their intervals read on the page."""

from __future__ import annotations

import math

from batchscope.analysis import Correlation, ThresholdEstimate
from batchscope.report.cells import number


def interval_text(interval: tuple[float, float]) -> str:
    """Such as "[12, 31]"; "" when there is none."""
    return "" if any(math.isnan(end) for end in interval) else f"[{number(interval[0])}, {number(interval[1])}]"


def threshold_text(estimate: ThresholdEstimate) -> str:
    """Such as "256 [128, > 512]"."""
    return f"{estimate.text} {estimate.interval_text}".strip()


def correlation_text(correlation: Correlation) -> str:
    """The correlation in a sentence, also where there is none."""
    if math.isnan(correlation.rank):
        return f"No correlation can be given: {correlation.n} shapes have both numbers and differ."
    return f"{correlation.sentence[:1].upper()}{correlation.sentence[1:]}"


def seconds_text(seconds: float) -> str:
    """Such as "12.3 s", "4.1 min" or "2.5 h"; "-" where not recorded."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
