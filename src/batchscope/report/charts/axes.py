"""Axes with their ticks: one rule for every chart, static and interactive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from batchscope.analysis.formatting import tick
from batchscope.report.charts.chart import Axis

MOST_TICKS = 10
MARGIN = 1.35  # factor between the outermost value and the end of a logarithmic axis


def log_axis(title: str, ticks: Iterable[float], margin: float = MARGIN) -> Axis:
    """A logarithmic axis labelled at `ticks` (at most ten of them), to a factor `margin` beyond the outermost."""
    known = sorted(set(ticks)) or [1.0]
    return _log(title, known, known[0] / margin, known[-1] * margin)


def doubling(title: str, values: Iterable[float]) -> Axis:
    """A logarithmic axis labelled at powers of two, wide enough for the positive ones of `values` and nothing else."""
    known = [value for value in values if 0 < value < math.inf] or [1.0]
    low, high = min(known) / MARGIN, max(known) * MARGIN
    return _log(title, powers_of_two(low, high), low, high)


def _log(title: str, ticks: Sequence[float], low: float, high: float) -> Axis:
    chosen = tuple(ticks[:: -(-len(ticks) // MOST_TICKS) or 1])
    return Axis(title, chosen, tuple(map(tick, chosen)), (low, high), "log")


def linear(title: str, values: Iterable[float]) -> Axis:
    """A linear axis labelled at multiples of 1, 2 or 5 times a power of ten, a little wider than the values."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    pad = 0.04 * (high - low) or 1.0
    step = _round_step((high - low + 2 * pad) / MOST_TICKS)
    ticks = tuple(step * k for k in range(math.ceil((low - pad) / step), math.floor((high + pad) / step) + 1))
    return Axis(title, ticks, tuple(f"{at:g}" for at in ticks), (low - pad, high + pad))


def categories(title: str, names: Sequence[str], downwards: bool = False) -> Axis:
    """An axis of names at 0, 1, 2, ..."""
    ends = (-0.5, max(len(names), 1) - 0.5)
    return Axis(title, tuple(range(len(names))), tuple(names), ends[::-1] if downwards else ends, "names")


def powers_of_two(low: float, high: float) -> list[float]:
    """The powers of two from `low` to `high`."""
    return [2.0**k for k in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]


def sideways(index: int, count: int) -> float:
    """The factor on a batch size that keeps the points of one of `count` shapes from hiding those of the others."""
    step = min(0.08, 0.6 / max(count - 1, 1))
    return float(2 ** (step * (index - (count - 1) / 2)))


def _round_step(least: float) -> float:
    """The least of 1, 2, 5, 10, ... times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
