"""Epochs to target over shape x batch size; cells that never arrive are hatched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.analysis.cells import Cell, batch_sizes, by_shape
from batchscope.analysis.context import Context
from batchscope.analysis.formatting import number
from batchscope.report.drawing import static as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

NOTE = (
    "Number: mean epochs over seeds; ≥ where some seeds ran out of epochs (lower bound). Hatched: no seed reached\n"
    "the target (> epochs allowed), or all diverged or crashed (never). Colour: log scale. Empty: not run."
)
SEQUENTIAL = ("#edf3f7", "#9cc3d9", "#3c86ad", "#1c4f7c", "#172a52")


def heat_map(table: Sequence[Cell], about: Context) -> Figure:
    """Draw the mean epochs to target of every shape (row, wide on top) at every batch size (column)."""
    shapes, sizes = by_shape(table), batch_sizes(table)
    width = max(6.0, 2.9 + 0.8 * len(sizes))
    size = (max(8.0, width), 2.3 + 0.46 * max(len(shapes), 2))
    figure, axes = style.canvas("Epochs to target, shape by batch size", about.subtitle, NOTE, size)
    reached = [cell.epochs.value for cell in table if cell.epochs and not cell.never]
    for cell in table:
        place = (sizes.index(cell.batch_size), list(shapes).index(cell.shape))
        _draw_cell(axes, cell, place, _fraction(cell, reached))
    axes.set(
        xlim=(-0.5, max(len(sizes), 1) - 0.5),
        ylim=(max(len(shapes), 1) - 0.5, -0.5),
        xlabel="batch size B (examples per step)",
    )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_yticks(range(len(shapes)), list(shapes))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    style.place(figure, axes, left=1.9)
    return figure


def _fraction(cell: Cell, reached: Sequence[float]) -> float:
    """Return where the cell's epochs lie between the least and the most, on a log scale in [0, 1]."""
    if cell.epochs is None or cell.never or max(reached) == min(reached):
        return 0.0
    return math.log(cell.epochs.value / min(reached)) / math.log(max(reached) / min(reached))


def _draw_cell(axes: Axes, cell: Cell, place: tuple[int, int], fraction: float) -> None:
    from matplotlib.patches import Rectangle

    corner = (place[0] - 0.5, place[1] - 0.5)
    if cell.never:
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="#f6f6f6", edgecolor="#b3bac2", hatch="////", linewidth=0))
        box = {"facecolor": "#f6f6f6", "edgecolor": "none", "pad": 1.5}
        axes.text(*place, cell.epochs_text, ha="center", va="center", fontsize=8.5, color=style.INK, bbox=box)
    else:
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=_colours()(fraction), linewidth=0))
        ink = "white" if fraction > 0.45 else style.INK
        axes.text(*place, _short(cell), ha="center", va="center", fontsize=9, color=ink)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor="white", linewidth=2))


def _short(cell: Cell) -> str:
    assert cell.epochs is not None
    return f"{'≥ ' if cell.epochs.lower_bound else ''}{number(cell.epochs.value)}"


def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("epochs", SEQUENTIAL)
