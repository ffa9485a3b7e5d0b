"""The table of a study's cells, behind every chart of them, and what a point of a cell says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchscope.analysis.cells import EDGE_NOTE, EPOCHS_MEANING, Cell
from batchscope.report.charts.chart import Table

HEADS = ("shape", "batch size", "step size", "epochs to target", "fewest - most", "steps to target", "outcomes")
HELD_OUT = "held-out error"


def cell_table(table: Sequence[Cell]) -> Table:
    """Every cell in the words of all tables: epochs, steps, what its seeds did, and their held-out error if known."""
    known = any(not math.isnan(cell.heldout_accuracy) for cell in table)
    heads = (*HEADS[:-1], *((HELD_OUT,) if known else ()), "n (seeds)", HEADS[-1])
    note = f" {HELD_OUT.capitalize()}: mean over seeds where their runs ended." if known else ""
    return Table(heads, tuple(_line(cell, known) for cell in table), f"{EPOCHS_MEANING} {EDGE_NOTE}.{note}")


def _line(cell: Cell, with_error: bool) -> tuple[str, ...]:
    error = "-" if math.isnan(cell.heldout_accuracy) else f"{100 * (1 - cell.heldout_accuracy):.3g} %"
    return (*cell.words[:-1], *((error,) if with_error else ()), str(cell.num_seeds), cell.words[-1])


def hover(cell: Cell, what: str) -> str:
    """What a point of a cell says; what: "epochs" or "steps"."""
    text = cell.epochs_text if what == "epochs" else cell.steps_text
    return f"{cell.shape}<br>B = {cell.batch_size}: {text} {what}<br>n = {cell.num_seeds} seeds: {cell.outcomes}"
