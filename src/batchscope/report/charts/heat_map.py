"""Epochs to target over shape x batch size; cells that never arrive are hatched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from batchscope.analysis.cells import Cell, batch_sizes, by_shape
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import number
from batchscope.report.charts.sweeps import cell_table, hover
from batchscope.report.drawing import interactive as layout
from batchscope.report.page.parts import Chart


def heat_map(one: Digest) -> Chart:
    """Return epochs to target over shape (wide on top) x batch size; cells that never arrive are hatched."""
    shapes, sizes = list(by_shape(one.table)), batch_sizes(one.table)
    z: list[list[float | None]] = [[None] * len(sizes) for _ in shapes]
    text = [[""] * len(sizes) for _ in shapes]
    for cell in one.table:
        row, column = shapes.index(cell.shape), sizes.index(cell.batch_size)
        if cell.epochs and not cell.never:
            text[row][column] = f"{'≥ ' if cell.epochs.lower_bound else ''}{number(cell.epochs.value)}"
            z[row][column] = round(math.log2(cell.epochs.value), 3)
    never = [cell for cell in one.table if cell.never]
    data = [_heat_trace(z, text), _hatched(never, shapes, sizes)]
    x = layout.axis("batch size B (examples)", tickvals=list(range(len(sizes))), ticktext=[str(s) for s in sizes])
    y = layout.axis("", tickvals=list(range(len(shapes))), ticktext=shapes, autorange="reversed")
    plain = {"showgrid": False, "ticks": ""}
    figure = layout.figure(
        data, x | plain, y | plain, height=170 + 44 * max(len(shapes), 2), barmode="overlay", bargap=0
    )
    figure["layout"]["annotations"] = [_label(cell, shapes, sizes) for cell in never]
    note = (
        "Number and colour (log scale): epochs to target, mean over the n seeds of the cell; ≥: a lower bound, some "
        "seeds ran out of epochs. Hatched: never, no seed reached the target in the epochs allowed, or all diverged "
        "or crashed. Intervals and n are in the table."
    )
    return Chart("heat-map", "Epochs to target, shape by batch size", figure, note, cell_table(one.table))


def _heat_trace(z: list[list[float | None]], text: list[list[str]]) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "z": z,
        "text": text,
        "texttemplate": "%{text}",
        "hoverinfo": "skip",
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "colorscale": [[k / 4, f"@heat{k}"] for k in range(5)],
    }


def _label(cell: Cell, shapes: list[str], sizes: list[int]) -> dict[str, Any]:
    """The text of a hatched cell, on plain ground."""
    return {
        "x": sizes.index(cell.batch_size),
        "y": shapes.index(cell.shape),
        "text": cell.epochs_text,
        "showarrow": False,
        "bgcolor": "@paper",
        "borderpad": 2,
    }


def _hatched(cells: Sequence[Cell], shapes: list[str], sizes: list[int]) -> dict[str, Any]:
    rows, columns = [shapes.index(cell.shape) for cell in cells], [sizes.index(cell.batch_size) for cell in cells]
    return {
        "type": "bar",
        "name": "never",
        "showlegend": bool(cells),
        "x": columns,
        "y": [0.94] * len(cells),
        "base": [row - 0.47 for row in rows],
        "width": 0.95,
        "hovertemplate": "%{customdata}<extra></extra>",
        "customdata": [hover(cell, "epochs") for cell in cells],
        "marker": {
            "color": "@paper",
            "line": {"width": 0},
            "pattern": {"shape": "/", "fgcolor": "@muted", "size": 7, "solidity": 0.15},
        },
    }
