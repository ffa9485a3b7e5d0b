"""Thresholds as points with bars, and as tables: what all charts of them share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from batchscope.analysis import ThresholdEstimate
from batchscope.analysis.cells import batch_sizes
from batchscope.analysis.digest import Digest
from batchscope.report.charts.axes import categories, log_axis
from batchscope.report.charts.chart import Axis, Hue, Mark, Panel, Points, Table

OUTSIDE = "Open triangle up: beyond the largest size tested; down: below the smallest."
GRID = "Value [95 % bootstrap interval over seeds], examples per step; > and <: outside the sizes tested."
MARKS: dict[str, Mark] = {">": "above", "<": "below", "": "filled"}
Named = Sequence[tuple[str, ThresholdEstimate]]  # key (definition, target, ...) and what it gives, in order


def points(name: str, colour: Hue, places: Sequence[float], estimates: Sequence[ThresholdEstimate]) -> Points:
    """Thresholds with their intervals, cut at the ends of the sweep; what has no value is left out."""
    known = [(x, height, one) for x, one in zip(places, estimates, strict=True) if (height := _height(one)) is not None]
    ends = [_ends(one) for _, _, one in known]
    return Points(
        name,
        colour,
        x=tuple(x for x, _, _ in known),
        y=tuple(height for _, height, _ in known),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
        marks=tuple(MARKS[one.censored] for _, _, one in known),
        hover=tuple(_hover(one) for _, _, one in known),
        group=one_group(name, estimates),
    )


def one_group(name: str, estimates: Sequence[ThresholdEstimate]) -> str:
    """The name of a chart's only group: what was asked for, or the shape of the estimates."""
    return name or next((one.shape for one in estimates), "")


def _height(estimate: ThresholdEstimate) -> float | None:
    """The value, or the end of the sweep it lies beyond; None for no value at all."""
    value = estimate.limit if estimate.censored else estimate.value
    return None if math.isnan(value) else value


def _ends(estimate: ThresholdEstimate) -> tuple[float | None, float | None]:
    low, high = estimate.interval
    if math.isnan(low) or math.isnan(high):
        return None, None
    return tuple(min(max(end, estimate.smallest), estimate.largest) for end in (low, high))  # type: ignore[return-value]


def _hover(estimate: ThresholdEstimate) -> str:
    why = f"<br>{estimate.statement}" if estimate.statement else ""
    return f"{estimate.shape}<br>{text(estimate)}<br>{estimate.definition}, n = {estimate.n} runs{why}"


def text(estimate: ThresholdEstimate) -> str:
    """Such as "256 [128, > 512]"."""
    return f"{estimate.text} {estimate.interval_text}".strip()


def batch_axis(one: Digest, title: str) -> Axis:
    """Batch sizes, labelled at those tested."""
    return log_axis(title, batch_sizes(one.table), margin=1.7)


def side_by_side(title: str, asked: Mapping[str, Named], y: Axis) -> Panel:
    """One group of points per key, the shapes beside each other within it. asked: shape -> keys, the same for all."""
    keys = [key for key, _ in next(iter(asked.values()), ())]
    layers = []
    for index, (shape, named) in enumerate(asked.items()):
        shift = 0.6 * (index - (len(asked) - 1) / 2) / len(asked)
        places = [place + shift for place in range(len(named))]
        layers.append(points(shape, Hue(index, len(asked)), places, [estimate for _, estimate in named]))
    return Panel(categories(title, keys), y, tuple(layers))


def shape_table(head: str, asked: Mapping[str, Named]) -> Table:
    """One line per key, by its place (keys may read alike), and one column per shape: value [interval]."""
    lines = zip(*asked.values(), strict=True)
    body = tuple((line[0][0], *(text(estimate) for _, estimate in line)) for line in lines)
    return Table((head, *asked), body, GRID)


def drawn(panel: Panel) -> list[float]:
    """The heights of all points and of the ends of their bars."""
    found = [layer for layer in panel.layers if isinstance(layer, Points)]
    return [y for layer in found for y in (*layer.y, *layer.low, *layer.high) if y is not None]


def num_runs(one: Digest) -> int:
    """The n behind a chart of all shapes."""
    return sum(sweep.num_runs for sweep in one.sweeps.values())
