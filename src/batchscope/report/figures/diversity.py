"""Batch-size bound B_S = n * (gradient diversity) against epoch and per shape: the paper's Figure 2(a)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from batchscope.report import palette
from batchscope.report.cells import Cell, by_shape
from batchscope.report.context import Context
from batchscope.report.diversity import Curve, middle
from batchscope.report.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = (
    "B_S = n · sum ‖g_i‖² / ‖sum g_i‖² over the whole training set (Yin et al. 2018). Left: seeds (thin) and median,\n"
    "at B = {sizes}, where runs last longest. Right: mean along whole runs, of which the longer ones reach larger\n"
    "values; dots: batch sizes (mean over seeds); bar: their mean."
)


def diversity(table: Sequence[Cell], curves: Sequence[Curve], about: Context) -> Figure:
    """Draw B_S (examples) against epoch for single runs, and its mean along training for each shape."""
    sizes = " / ".join(str(size) for size in sorted({curve.batch_size for curve in curves})) or "-"
    note = NOTE.format(sizes=sizes)
    title = "Gradient diversity: batch-size bound along training and by shape"
    figure, left = style.canvas(title, about.subtitle, note, size=(9.0, 4.6))
    right = figure.add_axes((0.6, 0.2, 0.38, 0.6), axisbelow=True)
    shapes = list(by_shape(table))
    _along_training(left, curves, shapes)
    _per_shape(right, [cell for cell in table if cell.batch_size_bound], shapes)
    style.place(figure, left, left=0.75, right=4.6)
    style.place(figure, right, left=5.9, right=0.2)
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


def _per_shape(axes: Axes, table: Sequence[Cell], shapes: list[str]) -> None:
    colours = palette.ramp(len(shapes))
    for cells in by_shape(table).values():
        place = shapes.index(cells[0].shape)
        means = [cell.batch_size_bound.mean for cell in cells if cell.batch_size_bound]
        axes.plot(means, [place] * len(means), "o", color=colours[place], markersize=4, alpha=0.55)
        axes.plot([fmean(means)], [place], "|", color=colours[place], markersize=18, markeredgewidth=2.5)
    axes.set_yticks(range(len(shapes)), shapes)
    axes.set_ylim(len(shapes) - 0.5, -0.5)
    axes.set_xlabel("mean B_S along training (examples)")
    if table:
        means = [cell.batch_size_bound.mean for cell in table if cell.batch_size_bound]
        style.log2_axis(axes.xaxis, style.powers_of_two(min(means), max(means)), most=6)
    axes.grid(True, axis="x")
