"""Batch-size bound B_S = n * (gradient diversity) against epoch and per shape: the paper's Figure 2(a)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from batchscope.analysis import ThresholdEstimate
from batchscope.analysis.context import Context
from batchscope.analysis.diversity import AT_EQUAL_EPOCHS, Curve, middle
from batchscope.report.drawing import palette
from batchscope.report.drawing import static as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = (
    "B_S = n · sum ‖g_i‖² / ‖sum g_i‖² over the whole training set (Yin et al. 2018). Left: seeds (thin) and median,\n"
    "at B = {sizes}, where runs last longest. Right: along training, mean over batch sizes, 95 % bootstrap of seeds;\n"
    "{over}."
)


def diversity(curves: Sequence[Curve], bounds: Mapping[str, ThresholdEstimate], about: Context) -> Figure:
    """Draw B_S (examples) against epoch for single runs, and along training for each shape (see `diversities`)."""
    sizes = " / ".join(str(size) for size in sorted({curve.batch_size for curve in curves})) or "-"
    note = NOTE.format(sizes=sizes, over=AT_EQUAL_EPOCHS if curves else "the mean along whole runs")
    title = "Gradient diversity: batch-size bound along training and by shape"
    figure, left = style.canvas(title, about.subtitle, note, size=(9.0, 4.8))
    right = figure.add_axes((0.6, 0.2, 0.38, 0.6), axisbelow=True)
    _along_training(left, curves, list(bounds))
    _per_shape(right, bounds)
    style.place(figure, left, left=0.75, right=4.6, bottom=1.2)
    style.place(figure, right, left=5.9, right=0.2, bottom=1.2)
    return figure


def _along_training(axes: Axes, curves: Sequence[Curve], shapes: list[str]) -> None:
    colours = dict(zip(shapes, palette.ramp(len(shapes)), strict=True))
    for curve in curves:
        axes.plot(curve.epochs, curve.bounds, color=colours[curve.shape], linewidth=0.6, alpha=0.3)
    for shape in dict.fromkeys(curve.shape for curve in curves):
        axes.plot(*middle(curve for curve in curves if curve.shape == shape), color=colours[shape], linewidth=1.6)
    axes.set(xlabel="epoch (passes over the data)", ylabel="batch-size bound B_S (examples)")
    if curves:
        bounds = [bound for curve in curves for bound in curve.bounds]
        style.log2_axis(axes.yaxis, style.powers_of_two(min(bounds), max(bounds)))
    else:
        axes.text(0.5, 0.5, "not measured along training", transform=axes.transAxes, ha="center", color=style.MUTED)
    axes.grid(True)


def _per_shape(axes: Axes, bounds: Mapping[str, ThresholdEstimate]) -> None:
    colours = palette.ramp(len(bounds))
    known = []
    for place, (estimate, colour) in enumerate(zip(bounds.values(), colours, strict=True)):
        ends = [end for end in estimate.interval if math.isfinite(end)]
        axes.plot(ends, [place] * len(ends), color=colour, linewidth=1.6)
        axes.plot([estimate.value], [place], "o", color=colour, markersize=5)
        known += [end for end in (*ends, estimate.value) if end > 0]
    axes.set_yticks(range(len(bounds)), bounds)
    axes.set_ylim(len(bounds) - 0.5, -0.5)
    axes.set_xlabel("B_S along training (examples)")
    if known:
        style.log2_axis(axes.xaxis, style.powers_of_two(min(known), max(known)), most=6)
    else:
        axes.text(0.5, 0.5, "at no epoch that all share", transform=axes.transAxes, ha="center", color=style.MUTED)
    axes.grid(True, axis="x")
