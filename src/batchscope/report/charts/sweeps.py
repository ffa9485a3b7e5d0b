"""Epochs and steps to target against batch size, with the fitted curve; the table of cells that goes with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from batchscope.analysis import CriticalBatchFit
from batchscope.analysis.cells import EDGE_NOTE, EPOCHS_MEANING, Cell, Summary, batch_sizes, by_shape
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import bounds_text
from batchscope.report.charts.words import positive_text
from batchscope.report.drawing import interactive as layout
from batchscope.report.page.parts import Chart, Table

FEW_SHAPES = 4
CURVE_POINTS = 40  # of a fitted curve and its band
NOTE = (
    "Filled: {what} to target, mean over the n seeds of a cell; bars: its 95 % Student t interval over seeds, log "
    "scale (none for n = 1). Open arrow: at least one seed ran out of epochs, the mean is a lower bound. ×: every seed "
    "diverged or crashed. Solid curve and band: steps = S_min (1 + B_crit/B) with its 95 % bootstrap band over "
    "batch sizes and seeds (McCandlish et al. 2018). Dotted: perfect scaling from the smallest batch size that "
    "arrived: epochs stay, steps fall as 1/B."
)


def against_batch_size(one: Digest, what: str) -> Chart:
    """Return the chart of `what` ("epochs" or "steps") to target against batch size, both axes logarithmic."""
    data: list[dict[str, Any]] = []
    for index, (shape, line) in enumerate(by_shape(one.table).items()):
        fitted = _fit_traces(index, shape, one, what)
        data += fitted
        data += _perfect_traces(index, shape, line, what, first=index == 0)
        data += _cell_traces(index, shape, line, what, _top(one.table, what), "markers" if fitted else "lines+markers")
    unit = "passes over the data" if what == "epochs" else "updates"
    x = layout.log_axis("batch size B (examples)", batch_sizes(one.table))
    ends = [end for cell in one.table if (value := _value(cell, what)) for end in (value.least, value.most)]
    figure = layout.figure(data, x, layout.doubling(ends, f"{what} to target ({unit})"), height=520)
    title = f"{what.capitalize()} to target against batch size"
    return Chart(f"{what}-batch", title, figure, NOTE.format(what=what), cell_table(one.table))


def _value(cell: Cell, what: str) -> Summary | None:
    return cell.epochs if what == "epochs" else cell.steps


def _top(table: Sequence[Cell], what: str) -> float:
    return 1.2 * max((value.most for cell in table if (value := _value(cell, what))), default=1.0)


def _cell_traces(
    index: int, shape: str, line: Sequence[Cell], what: str, top: float, mode: str
) -> list[dict[str, Any]]:
    """Filled points with bars for complete cells, open arrows for lower bounds, crosses for cells without a number."""
    known = [(cell, value) for cell in line if (value := _value(cell, what))]
    complete = [(cell, value) for cell, value in known if not value.lower_bound]
    bounds = [(cell, value) for cell, value in known if value.lower_bound]
    lost = [cell for cell in line if _value(cell, what) is None]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [(value.high or value.value) - value.value for _, value in complete],
        "arrayminus": [value.value - (value.value if value.low is None else value.low) for _, value in complete],
        "color": layout.colour(index),
        "thickness": 1.4,
        "width": 4,
    }
    sizes, means = [cell.batch_size for cell, _ in complete], [value.value for _, value in complete]
    texts = [hover(cell, what) for cell, _ in complete]
    # Without a point a trace would have no place in the legend either.
    traces = [layout.points(index, shape, sizes or [None], means or [None], texts, error_y=bars, mode=mode)]
    for cells, heights, mark in (
        ([cell for cell, _ in bounds], [value.value for _, value in bounds], "arrow-up-open"),
        (lost, [top] * len(lost), "x"),
    ):
        style = {"color": layout.colour(index), "symbol": mark, "size": 13 if mark != "x" else 9, "line": {"width": 2}}
        text = [hover(cell, what) for cell in cells]
        traces.append(
            layout.points(index, shape, [c.batch_size for c in cells], heights, text, mode="markers", showlegend=False)
            | {"marker": style}
        )
    return [trace for trace in traces if trace["x"]]


def hover(cell: Cell, what: str) -> str:
    """Return what a point says when it is touched."""
    text = cell.epochs_text if what == "epochs" else cell.steps_text
    return f"{cell.shape}<br>B = {cell.batch_size}: {text} {what}<br>n = {cell.num_seeds} seeds: {cell.outcomes}"


def _fit_traces(index: int, shape: str, one: Digest, what: str) -> list[dict[str, Any]]:
    fitted, sweep = one.fits.get(shape), one.sweeps.get(shape)
    if fitted is None or sweep is None or not math.isfinite(fitted.spread):
        return []
    grid = np.geomspace(sweep.batch_sizes[0], sweep.batch_sizes[-1], CURVE_POINTS)
    scale = grid / sweep.num_examples if what == "epochs" else np.ones_like(grid)
    x = rounded(grid)
    traces = [layout.guide(shape, x, rounded(fitted.predicted(grid) * scale), layout.colour(index, 70), "solid")]
    with np.errstate(invalid="ignore"):  # resamples without a fit are NaN, and left out of the band
        low, high = (end * scale for end in fitted.band(grid))
    if np.isfinite(low).all() and np.isfinite(high).all():
        opacity = 16 if len(one.fits) <= FEW_SHAPES else 6  # many bands lie over each other
        traces.append(layout.band(index, shape, x, rounded(low), rounded(high), opacity))
    return [trace | {"legendgroup": shape, "showlegend": False} for trace in traces]


def _perfect_traces(index: int, shape: str, line: Sequence[Cell], what: str, first: bool) -> list[dict[str, Any]]:
    arrived = [cell for cell in line if not cell.never]
    value = _value(arrived[0], what) if arrived else None
    if value is None or len(line) < 2:
        return []
    sizes = [arrived[0].batch_size, line[-1].batch_size]
    ends = [value.value, value.value if what == "epochs" else value.value * sizes[0] / sizes[1]]
    named = {"legendgroup": shape, "showlegend": False} if not first else {"showlegend": True}
    return [layout.guide("perfect scaling", sizes, rounded(ends), layout.colour(index, 60), **named)]


def rounded(values: Any) -> list[float]:
    """Four significant digits: what a chart can show, at a third of the size."""
    return [float(f"{value:.4g}") for value in values]


def cell_table(table: Sequence[Cell]) -> Table:
    """Return every cell with epochs, steps, n and outcomes."""
    heads = (
        "shape",
        "batch size",
        "step size",
        "epochs to target",
        "spread of seeds",
        "steps to target",
        "n",
        "outcomes",
    )
    lines = tuple(
        (
            cell.shape,
            str(cell.batch_size),
            cell.step_size_text,
            cell.epochs_text,
            cell.seeds_text,
            cell.steps_text,
            str(cell.num_seeds),
            cell.outcomes,
        )
        for cell in table
    )
    return Table(heads, lines, f"{EPOCHS_MEANING} {EDGE_NOTE}.")


def fit_table(one: Digest) -> Table:
    """Return the critical-batch fit of every shape."""
    heads = (
        "shape",
        "B_crit",
        "95 % (both)",
        "95 % (seeds)",
        "S_min (steps)",
        "E_min (epochs)",
        "lack of fit p",
        "n (runs)",
        "censored",
        "diverged",
        "note",
    )
    caption = (
        "steps = S_min (1 + B_crit/B) by censored likelihood: a target counts as met between two checks, runs out of "
        "epochs as not yet met, diverged runs are left out. Intervals: bootstrap over batch sizes and seeds, and over "
        "seeds only. Lack of fit: small p, the curve does not describe the runs."
    )
    return Table(heads, tuple(_fit_line(shape, one, fitted) for shape, fitted in one.fits.items()), caption)


def _fit_line(shape: str, one: Digest, fitted: CriticalBatchFit) -> tuple[str, ...]:
    epochs = [value / one.sweeps[shape].num_examples for value in (fitted.e_min, *fitted.e_min_interval)]
    return (
        shape,
        fitted.text,
        bounds_text(fitted.interval) or "-",
        bounds_text(fitted.interval_seeds) or "-",
        positive_text(fitted.s_min, fitted.s_min_interval),
        positive_text(epochs[0], (epochs[1], epochs[2])),
        "-" if math.isnan(fitted.misfit) else f"{fitted.misfit:.2g}",
        str(fitted.n),
        str(fitted.num_censored),
        str(fitted.num_diverged),
        fitted.statement,
    )
