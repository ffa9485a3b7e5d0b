"""What the fitted curve leaves: log of steps over fitted steps, against batch size."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchscope.analysis import CriticalBatchFit
from batchscope.analysis.cells import batch_sizes
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import number
from batchscope.report.charts.axes import linear, log_axis, sideways
from batchscope.report.charts.chart import Chart, Hue, Line, Panel, Points, Table
from batchscope.report.charts.registry import Section, chart_of

MOST_POINTS = 6000  # of all shapes; more would make the page too heavy to send
CAPTION = (
    "log(steps / fitted steps) of every run that reached the target (points are shifted sideways; at most {most} drawn "
    "per shape, every k-th run), about steps = S_min (1 + B_crit/B). A trend along B says that the curve is the wrong "
    "one; so does a small lack-of-fit p of that curve."
)
HEADS = ("shape", "batch size", "mean log residual", "standard deviation", "n (runs)")


@chart_of(Section.SENSITIVITY)
def residuals(one: Digest) -> Chart | None:
    """Residuals of every run that reached the target, by shape."""
    if not any(np.isfinite(fitted.residuals).any() for fitted in one.fits.values()):
        return None
    most = max(10, min(1000, MOST_POINTS // len(one.fits)))
    drawn = tuple(
        _points(shape, fitted, Hue(k, len(one.fits)), most) for k, (shape, fitted) in enumerate(one.fits.items())
    )
    sizes = batch_sizes(one.table)
    zero = Line("fitted curve", "muted", (sizes[0], sizes[-1]), (0, 0))
    panel = Panel(
        log_axis("batch size B (examples)", sizes),
        linear("log residual", [left for points in drawn for left in points.y]),
        (zero, *drawn),
    )
    lines = tuple(line for shape, fitted in one.fits.items() for line in _lines(shape, fitted))
    caption = CAPTION.format(most=most)
    return Chart("Residuals of the fit", caption, (panel,), Table(HEADS, lines), "shape, wide to deep")


def _points(shape: str, fitted: CriticalBatchFit, hue: Hue, most: int) -> Points:
    known = np.flatnonzero(np.isfinite(fitted.residuals))
    shown = known[:: -(-len(known) // most) or 1]
    sizes, left = fitted.batch_sizes[shown].tolist(), fitted.residuals[shown].tolist()
    hover = tuple(
        f"{shape}<br>B = {number(size)}: {100 * math.expm1(value):+.0f} % steps"
        for size, value in zip(sizes, left, strict=True)
    )
    x = tuple(size * sideways(*hue) for size in sizes)
    return Points(shape, hue, x, tuple(left), hover=hover)


def _lines(shape: str, fitted: CriticalBatchFit) -> list[tuple[str, ...]]:
    known = np.isfinite(fitted.residuals)
    return [
        _line(shape, size, fitted.residuals[known & (fitted.batch_sizes == size)])
        for size in np.unique(fitted.batch_sizes[known]).tolist()
    ]


def _line(shape: str, size: float, left: NDArray[np.float64]) -> tuple[str, ...]:
    sd = f"{left.std(ddof=1):.3f}" if len(left) > 1 else "-"
    return (shape, number(size), f"{left.mean():+.3f}", sd, str(len(left)))
