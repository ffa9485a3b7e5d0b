"""The largest batch that reaches the target within a fixed number of epochs: the paper's Figures 2(b) and 5."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from batchscope.analysis import ThresholdEstimate
from batchscope.analysis.context import Context
from batchscope.analysis.formatting import number
from batchscope.report.drawing import palette
from batchscope.report.drawing import static as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = (
    "Largest batch size that reaches the target within E epochs in at least half of the seeds, interpolated between\n"
    "tested sizes; bars: 95 % bootstrap over seeds. Open, arrow up: beyond the largest tested; down: below all."
)


def largest_batch(limits: Mapping[float, Mapping[str, ThresholdEstimate]], about: Context) -> Figure:
    """Draw, for each number of epochs E, the largest batch (examples) of every shape, wide to deep.

    limits: E -> shape -> the threshold by definition within_epochs(E).
    """
    figure, axes = style.canvas("Largest batch within a fixed number of epochs", about.subtitle, NOTE, (8.0, 5.0))
    shapes = list(dict.fromkeys(shape for estimates in limits.values() for shape in estimates))
    for index, (limit, estimates) in enumerate(limits.items()):
        colour, marker = palette.ramp(len(limits))[index], style.MARKERS[index]
        shift = 0.12 * (index - (len(limits) - 1) / 2)
        points = [(shapes.index(shape) + shift, estimate) for shape, estimate in estimates.items()]
        _draw(axes, points, colour, marker, f"E = {number(limit)}")
    axes.set_xticks(range(len(shapes)), shapes, rotation=15 if len(shapes) > 4 else 0, ha="center")
    axes.set(xlabel="shape, wide to deep", ylabel="largest batch size (examples per step)")
    ends = [end for estimates in limits.values() for e in estimates.values() for end in (e.smallest, e.largest)]
    known = [end for end in ends if math.isfinite(end)]
    if known:
        style.log2_axis(axes.yaxis, style.powers_of_two(min(known), max(known)))
        axes.set_ylim(min(known) / 1.6, 1.6 * max(known))
        axes.legend(title="epochs allowed", loc="upper left", bbox_to_anchor=(1.01, 1.0), alignment="left")
    else:
        axes.text(0.5, 0.5, "no run reached the target", transform=axes.transAxes, ha="center", color=style.MUTED)
    axes.grid(True, axis="y")
    style.place(figure, axes, right=1.35)
    return figure


def _draw(axes: Axes, points: Sequence[tuple[float, ThresholdEstimate]], colour: str, marker: str, label: str) -> None:
    placed = [(x, height, estimate) for x, estimate in points if (height := _height(estimate)) is not None]
    axes.plot([x for x, _, _ in placed], [y for _, y, _ in placed], color=colour, linewidth=1.2, alpha=0.6)
    for x, y, estimate in placed:
        low, high = (min(max(end, estimate.smallest), estimate.largest) for end in estimate.interval)
        if not math.isnan(estimate.interval[0]):
            axes.plot([x, x], [low, high], color=colour, linewidth=1.4, alpha=0.8)
        face = "white" if estimate.censored else colour
        axes.plot([x], [y], marker, color=colour, markerfacecolor=face, markersize=7, markeredgewidth=1.4)
        if estimate.censored:
            style.arrow(axes, x, y, 1.4 if estimate.censored == ">" else 1 / 1.4, colour)
    axes.plot([], [], marker, linestyle="-", color=colour, markersize=7, label=label)


def _height(estimate: ThresholdEstimate) -> float | None:
    """Return where to draw: the value, the end of the sweep it lies beyond, or None for no value at all."""
    value = estimate.limit if estimate.censored else estimate.value
    return None if math.isnan(value) else value
