"""Epochs to target against batch size, one line per shape: the paper's Figures 2(a) and 3."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from batchscope.analysis.cells import Cell, batch_sizes, by_shape
from batchscope.analysis.context import Context
from batchscope.report.drawing import palette
from batchscope.report.drawing import static as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = (
    "Filled: mean over seeds; bars: least to most of the seeds (points are shifted sideways so as not to overlap).\n"
    "Open, arrow up: at least one seed ran out of epochs; the mean is a lower bound. ×: every seed diverged or crashed."
)


def epochs_against_batch_size(table: Sequence[Cell], about: Context) -> Figure:
    """Draw the mean and spread of epochs to target (passes over the data) against batch size (examples), log2 axes."""
    title = "Epochs to target against batch size"
    figure, axes = style.canvas(title, about.subtitle, NOTE, size=(8.0, 5.2))
    shapes = by_shape(table)
    least = min((cell.epochs.least for cell in table if cell.epochs), default=None)
    top = 1.15 * max((cell.epochs.most for cell in table if cell.epochs), default=1.0)
    for index, (shape, line) in enumerate(shapes.items()):
        colour = palette.ramp(len(shapes))[index]
        shift = 2 ** (0.07 * (index - (len(shapes) - 1) / 2))
        _draw_line(axes, line, shift, top, colour, style.MARKERS[index % len(style.MARKERS)], shape)
    axes.set(xlabel="batch size B (examples per step)", ylabel="epochs to target (passes over the data)")
    if least is not None:
        style.log2_axis(axes.xaxis, batch_sizes(table))
        style.log2_axis(axes.yaxis, style.powers_of_two(least, 1.3 * top))
        axes.set_ylim(least / 1.15, 1.4 * top)
    axes.grid(True)
    _legend(axes, len(shapes))
    style.place(figure, axes, right=2.25)
    return figure


def _draw_line(
    axes: Axes, line: Sequence[Cell], shift: float, top: float, colour: str, marker: str, label: str
) -> None:
    points = [(cell, cell.batch_size * shift, cell.epochs.value if cell.epochs else top) for cell in line]
    for (cell_a, x_a, y_a), (cell_b, x_b, y_b) in pairwise(points):
        certain = not (_open(cell_a) or _open(cell_b))
        axes.plot([x_a, x_b], [y_a, y_b], color=colour, linewidth=1.6, linestyle="-" if certain else (0, (1, 2)))
    for cell, x, y in points:
        if cell.epochs is None:
            axes.plot([x], [y], "x", color=colour, markersize=7, markeredgewidth=1.8)
            continue
        axes.plot([x, x], [cell.epochs.least, cell.epochs.most], color=colour, linewidth=1.1, alpha=0.75)
        face = "white" if _open(cell) else colour
        axes.plot([x], [y], marker, color=colour, markerfacecolor=face, markersize=6, markeredgewidth=1.4)
        if _open(cell):
            style.arrow(axes, x, y, 1.3, colour)
    axes.plot([], [], marker, linestyle="-", color=colour, markersize=6, label=label)


def _open(cell: Cell) -> bool:
    return cell.epochs is None or cell.epochs.lower_bound


def _legend(axes: Axes, count: int) -> None:
    if count:
        axes.legend(title="shape, wide to deep", loc="upper left", bbox_to_anchor=(1.01, 1.0), alignment="left")
    else:
        axes.text(0.5, 0.5, "no finished runs yet", transform=axes.transAxes, ha="center", color=style.MUTED)
