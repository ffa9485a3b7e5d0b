"""Epochs to target over shape and batch size; cells that never arrive are hatched."""

from __future__ import annotations

import math

from batchscope.analysis.cells import Cell, batch_sizes, by_shape
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import number
from batchscope.analysis.summaries import ABOVE, BELOW
from batchscope.report.charts.axes import categories
from batchscope.report.charts.cell_table import cell_table, hover
from batchscope.report.charts.chart import Chart, Heat, HeatCell, Panel
from batchscope.report.charts.registry import Section, chart_of

CAPTION = (
    "Number and colour (log scale): epochs to target, median over the n seeds of the cell; ≥: it lies beyond the "
    "epochs allowed; ≤: half the seeds arrived by the first check. Hatched: no seed reached the target in the epochs "
    "allowed (>), or all diverged or crashed (never). Empty: not run. Intervals and n are in the table of these "
    "numbers."
)


SIGNS = {"": "", ABOVE: "≥ ", BELOW: "≤ "}  # of a number, and of what bounds it


@chart_of(Section.SHAPE_BY_SIZE)
def heat_map(one: Digest) -> Chart | None:
    """The typical epochs to target of every shape (row, wide on top) at every batch size (column)."""
    if not one.table:
        return None
    shapes, sizes = list(by_shape(one.table)), batch_sizes(one.table)
    means = [cell.epochs.value for cell in one.table if cell.epochs and not cell.never]
    cells = tuple(
        HeatCell(
            sizes.index(cell.batch_size),
            shapes.index(cell.shape),
            _text(cell),
            _shade(cell, min(means), max(means)) if means else None,
            hover(cell, "epochs"),
        )
        for cell in one.table
    )
    x = categories("batch size B (examples)", list(map(str, sizes)))
    panel = Panel(x, categories("", shapes, downwards=True), (Heat(cells),))
    return Chart("Epochs to target, shape by batch size", CAPTION, (panel,), cell_table(one.table))


def _text(cell: Cell) -> str:
    if cell.never or cell.epochs is None:
        return cell.epochs_text
    return f"{SIGNS[cell.epochs.bound]}{number(cell.epochs.value)}"


def _shade(cell: Cell, least: float, most: float) -> float | None:
    """Where the cell's epochs lie between the least and the most, on a log scale; None where it never arrived."""
    if cell.epochs is None or cell.never:
        return None
    return math.log(cell.epochs.value / least) / math.log(most / least) if most > least > 0 else 0.0
