"""The table of a study's cells, behind every chart of them, and what a point of a cell says."""

from __future__ import annotations

from collections.abc import Sequence

from batchscope.analysis.cells import EDGE_NOTE, EPOCHS_MEANING, Cell
from batchscope.report.charts.chart import Table

HEADS = ("shape", "batch size", "step size", "epochs to target", "fewest - most", "steps to target", "outcomes")


def cell_table(table: Sequence[Cell]) -> Table:
    """Every cell in the words of all tables: epochs, steps, and what its seeds did."""
    heads, lines = (*HEADS[:-1], "n (seeds)", HEADS[-1]), tuple(map(_line, table))
    return Table(heads, lines, f"{EPOCHS_MEANING} {EDGE_NOTE}.")


def _line(cell: Cell) -> tuple[str, ...]:
    return (*cell.words[:-1], str(cell.num_seeds), cell.words[-1])


def hover(cell: Cell, what: str) -> str:
    """What a point of a cell says; what: "epochs" or "steps"."""
    text = cell.epochs_text if what == "epochs" else cell.steps_text
    return f"{cell.shape}<br>B = {cell.batch_size}: {text} {what}<br>n = {cell.num_seeds} seeds: {cell.outcomes}"
