"""Epochs and steps to target against batch size, with the fitted curve: the paper's Figures 2(a) and 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from batchscope.analysis.cells import Cell, batch_sizes, by_shape
from batchscope.analysis.digest import Digest
from batchscope.analysis.summaries import ABOVE, BELOW, Summary
from batchscope.report.charts.axes import doubling, log_axis, sideways
from batchscope.report.charts.cell_table import cell_table, hover
from batchscope.report.charts.chart import Band, Chart, Hue, Layer, Line, Mark, Panel, Points
from batchscope.report.charts.registry import Section, chart_of

FEW_SHAPES = 4
MARKS: dict[str, Mark] = {"": "filled", ABOVE: "above", BELOW: "below"}  # of a number, and of what bounds it
REACH = 4.0  # how far beyond all points bars are followed: one seed of three may leave an end anywhere
CURVE_POINTS = 40  # of a fitted curve and its band
CAPTION = (
    "Filled: {what} to target, median over the n seeds of a cell by censored likelihood; bars: its 95 % interval, "
    "log scale (none for n = 1), to the frame where it reaches beyond; points are shifted sideways. Open triangle "
    "up: the median lies beyond the epochs allowed; down: half the seeds arrived by the first check. ×: every seed "
    "diverged or crashed. Solid curve and band: steps = S_min (1 + B_crit/B) with its 95 % band over batch sizes "
    "and seeds (McCandlish et al. 2018); without a fit, the points are joined. Dotted: perfect scaling from the "
    "smallest batch size that arrived: epochs stay, steps fall as 1/B."
)


@chart_of(Section.TO_TARGET)
def epochs(one: Digest) -> Chart | None:
    """Epochs to target against batch size, both axes logarithmic."""
    return _against_batch_size(one, "epochs")


@chart_of(Section.TO_TARGET)
def steps(one: Digest) -> Chart | None:
    """Steps to target against batch size, both axes logarithmic."""
    return _against_batch_size(one, "steps")


def _against_batch_size(one: Digest, what: str) -> Chart | None:
    if not one.table:
        return None
    shapes = by_shape(one.table)
    layers: list[Layer] = []
    for index, (shape, line) in enumerate(shapes.items()):
        hue = Hue(index, len(shapes))
        fitted = _fitted(one, shape, hue, what)
        layers += [*fitted, *_perfect(line, shape, hue, what), *([] if fitted else _joined(line, shape, hue, what))]
        layers.append(_points(one, line, shape, hue, what))
    unit = one.about.epoch if what == "epochs" else "updates"
    panel = Panel(
        log_axis("batch size B (examples)", batch_sizes(one.table)),
        doubling(f"{what} to target ({unit})", _heights(one.table, what)),
        tuple(layers),
    )
    title = f"{what.capitalize()} to target against batch size"
    return Chart(title, CAPTION.format(what=what), (panel,), cell_table(one.table), "shape, wide to deep")


def _mean(cell: Cell, what: str) -> Summary | None:
    return cell.epochs if what == "epochs" else cell.steps


def _heights(table: Sequence[Cell], what: str) -> list[float]:
    """All that shall be in sight: medians, the ends of bars within `REACH`, and room for what has no number."""
    means = [mean for cell in table if (mean := _mean(cell, what))]
    values = [mean.value for mean in means if mean.value > 0]
    low, high = min(values, default=1.0) / REACH, max(values, default=1.0) * REACH
    ends = [min(max(end, low), high) for mean in means for end in (mean.low, mean.high) if end is not None]
    return [*values, *ends, *([_top(table, what)] if len(means) < len(table) else [])]


def _top(table: Sequence[Cell], what: str) -> float:
    """Where cells without a number are drawn."""
    return 1.2 * max((mean.most for cell in table if (mean := _mean(cell, what))), default=1.0)


def _points(one: Digest, line: Sequence[Cell], shape: str, hue: Hue, what: str) -> Points:
    means = [_mean(cell, what) for cell in line]
    top = _top(one.table, what)
    return Points(
        name=shape,
        colour=hue,
        x=tuple(cell.batch_size * sideways(*hue) for cell in line),
        y=tuple(mean.value if mean else top for mean in means),
        low=tuple(mean.low if mean else None for mean in means),
        high=tuple(mean.high if mean else None for mean in means),
        marks=tuple(map(_mark, means)),
        hover=tuple(hover(cell, what) for cell in line),
    )


def _mark(mean: Summary | None) -> Mark:
    if mean is None:
        return "lost"
    return MARKS[mean.bound]


def _joined(line: Sequence[Cell], shape: str, hue: Hue, what: str) -> list[Line]:
    """Lines between neighbours that both have a number."""
    at = [(cell.batch_size * sideways(*hue), mean.value) for cell in line if (mean := _mean(cell, what))]
    return [Line("", hue, (a, b), (y_a, y_b), group=shape) for (a, y_a), (b, y_b) in pairwise(at)]


def _fitted(one: Digest, shape: str, hue: Hue, what: str) -> list[Layer]:
    """The fitted curve, and its band where every resample had a fit."""
    fitted, sweep = one.fits.get(shape), one.sweeps.get(shape)
    if fitted is None or sweep is None or not math.isfinite(fitted.spread):
        return []
    grid = np.geomspace(sweep.batch_sizes[0], sweep.batch_sizes[-1], CURVE_POINTS)
    scale = grid / sweep.num_examples if what == "epochs" else np.ones_like(grid)
    x, y = tuple(grid.tolist()), tuple((fitted.predicted(grid) * scale).tolist())
    layers: list[Layer] = [Line("", hue, x, y, width=1.8, opacity=70, group=shape)]
    with np.errstate(invalid="ignore"):  # resamples without a fit are NaN, and left out of the band
        low, high = (end * scale for end in fitted.band(grid))
    if np.isfinite(low).all() and np.isfinite(high).all():
        opacity = 16 if len(one.fits) <= FEW_SHAPES else 6  # many bands lie over each other
        layers.insert(0, Band(hue, x, tuple(low.tolist()), tuple(high.tolist()), opacity, shape))
    return layers


def _perfect(line: Sequence[Cell], shape: str, hue: Hue, what: str) -> list[Layer]:
    """Perfect scaling from the first cell that arrived; named once, by the widest shape."""
    arrived = [cell for cell in line if not cell.never]
    mean = _mean(arrived[0], what) if arrived else None
    if mean is None or len(line) < 2:
        return []
    first, last = arrived[0].batch_size, line[-1].batch_size
    end = mean.value if what == "epochs" else mean.value * first / last
    name = "perfect scaling" if hue.rank == 0 else ""
    return [Line(name, hue, (first, last), (mean.value, end), "dotted", opacity=60, group=name or shape)]
