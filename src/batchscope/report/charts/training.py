"""Charts of the runs themselves: tuned step sizes, gradient diversity along training, residuals of the fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from batchscope.analysis.cells import batch_sizes
from batchscope.analysis.digest import Digest
from batchscope.analysis.diversity import MAX_SEEDS, middle
from batchscope.analysis.formatting import number
from batchscope.analysis.tuning import TunedCell, step_size_trends
from batchscope.report.charts.sweeps import rounded
from batchscope.report.charts.words import interval_text
from batchscope.report.drawing import interactive as layout
from batchscope.report.page.parts import Chart, Table

MAX_RESIDUALS = 6000  # points drawn; more would make the page too heavy to send
STEP_SIZES = (
    "Step size (for the mean loss) chosen by protocol {protocol} at every shape and batch size, one choice per point "
    "(points shifted sideways); ringed: at the edge of the grid tried, so that a better one may lie outside. Dotted: "
    "the linear rule, step size ~ B; dashed: the square-root rule, ~ sqrt(B); both through the geometric mean of the "
    "choices at the smallest batch size. Slopes with 95 % intervals are in section 5's table."
)


def step_sizes(one: Digest) -> Chart:
    """Return the tuned step size against batch size, with grid edges and the two scaling rules."""
    cells = one.tuning.cells
    chosen = sorted({cell.step_size for cell in cells})
    figure = layout.figure(
        [*_rules(cells), *_choices(one)],
        layout.log_axis("batch size B (examples)", batch_sizes(one.table)),
        layout.log_axis("step size", chosen, min(chosen) / 1.6, max(chosen) * 1.6),
    )
    note = STEP_SIZES.format(protocol=one.about.protocol)
    return Chart("step-sizes", "Tuned step size against batch size", figure, note, _choices_table(cells))


def _choices(one: Digest) -> list[dict[str, Any]]:
    """Return one trace per shape: the step size chosen at each batch size, ringed at the edge of the grid."""
    groups: dict[str, list[TunedCell]] = {}
    for cell in one.tuning.cells:
        groups.setdefault(cell.shape, []).append(cell)
    traces = []
    for shape, cells in groups.items():
        index = list(one.sweeps).index(shape) if shape in one.sweeps else 0
        sizes = [cell.batch_size * sideways(index, len(groups)) for cell in cells]
        trace = layout.points(
            index, shape, rounded(sizes), [cell.step_size for cell in cells], list(map(_hover, cells))
        )
        trace["marker"] |= {
            "line": {"color": "@ink", "width": [3 if cell.edge else 0 for cell in cells]},
            "size": [11 if cell.edge else 8 for cell in cells],
        }
        traces.append(trace)
    return traces


def _choices_table(cells: Sequence[TunedCell]) -> Table:
    lines = {
        "shape": [cell.shape for cell in cells],
        "batch size": [str(cell.batch_size) for cell in cells],
        "step size": [f"{cell.step_size:g}" for cell in cells],
        "smallest tried": [number(cell.grid_low) for cell in cells],
        "largest tried": [number(cell.grid_high) for cell in cells],
        "tried": [str(cell.num_step_sizes) for cell in cells],
        "diverged while tuning": [str(cell.num_diverged) for cell in cells],
        "edge": [cell.edge or "-" for cell in cells],
        "runs lost": [f"{cell.num_lost} of {cell.num_final}" for cell in cells],
    }
    caption = "Runs lost: final runs with the chosen step size that never met the target."
    return Table(tuple(lines), tuple(zip(*lines.values(), strict=True)), caption)


def _hover(cell: TunedCell) -> str:
    tried = (
        f"{number(cell.grid_low)} to {number(cell.grid_high)}, {cell.num_step_sizes} tried"
        if cell.num_step_sizes
        else "not tuned here"
    )
    edge = f"<br>at the {cell.edge} edge of its grid" if cell.edge else ""
    return f"{cell.shape}<br>B = {cell.batch_size}: {cell.step_size:g} ({tried}){edge}"


def sideways(index: int, count: int) -> float:
    """Return the factor on a batch size that keeps the points of shape `index` of `count` from hiding others."""
    return float(2 ** (0.08 * (index - (count - 1) / 2)))


def _rules(cells: Sequence[TunedCell]) -> list[dict[str, Any]]:
    """Return the linear and the square-root rule through the mean choice at the smallest batch size."""
    sizes = sorted({cell.batch_size for cell in cells})
    if len(sizes) < 2:
        return []
    start = math.exp(float(np.mean([math.log(cell.step_size) for cell in cells if cell.batch_size == sizes[0]])))
    ends = [sizes[0], sizes[-1]]
    return [
        layout.guide(name, ends, rounded(start * (np.array(ends) / ends[0]) ** power), "@muted", dash)
        for name, power, dash in (("linear rule", 1.0, "dot"), ("square-root rule", 0.5, "dash"))
    ]


def slopes_table(one: Digest) -> Table:
    """Return the slope of log step size against log batch size for every shape."""
    lines = tuple(
        (trend.shape, number(trend.slope), interval_text(trend.interval) or "-", str(trend.n))
        for trend in step_size_trends(one.tuning)
    )
    caption = "step size ~ B^slope by least squares over batch sizes; 1 is the linear rule, 0.5 the square-root rule."
    return Table(("shape", "slope", "95 % interval (Student t)", "n (batch sizes)"), lines, caption)


def diversity_along_training(one: Digest) -> Chart:
    """Return B_S against epoch: seeds faintly, and the median of each shape."""
    data = []
    for index, shape in enumerate(one.sweeps):
        curves = [curve for curve in one.curves if curve.shape == shape]
        for curve in curves:
            faint = {"mode": "lines", "opacity": 0.3, "showlegend": False, "hoverinfo": "skip"}
            seed = layout.points(index, shape, curve.epochs, rounded(curve.bounds), (), **faint)
            data.append(seed | {"hovertemplate": None, "line": {"color": layout.colour(index), "width": 1}})
        epochs, bounds = middle(curves)
        text = [f"{shape}<br>median B_S = {number(bound)}, n = {len(curves)} runs" for bound in bounds]
        data.append(layout.points(index, shape, epochs, rounded(bounds), text))
    sizes = sorted({curve.batch_size for curve in one.curves})
    note = (
        "Batch-size bound B_S = n · sum ‖g_i‖² / ‖sum g_i‖² over the whole training set (Yin et al. 2018), exact at "
        f"every point, so without interval, at the batch size where runs last longest, B = "
        f"{' / '.join(map(str, sizes)) or '-'}. Faint: one line per seed (at most {MAX_SEEDS} per shape); bold: their "
        f"median, as long as half of them run; n = {len(one.curves)} runs."
    )
    lines = tuple(
        (c.shape, str(c.batch_size), str(c.seed), f"{epoch:g}", number(bound))
        for c in one.curves
        for epoch, bound in zip(c.epochs, c.bounds, strict=True)
    )
    figure = layout.figure(
        data,
        layout.axis("epoch (passes over the data)"),
        layout.doubling((b for curve in one.curves for b in curve.bounds), "batch-size bound B_S (examples)"),
    )
    table = Table(("shape", "batch size", "seed", "epoch", "B_S (examples)"), lines)
    return Chart("diversity", "Gradient diversity along training", figure, note, table)


def residuals(one: Digest) -> Chart:
    """Return what the fitted curve leaves: log of steps over fitted steps, against batch size."""
    data, lines = [], []
    most = max(10, min(1000, MAX_RESIDUALS // max(len(one.fits), 1)))
    for index, (shape, fitted) in enumerate(one.fits.items()):
        known = np.flatnonzero(np.isfinite(fitted.residuals))
        shown = known[:: -(-len(known) // most) or 1]
        sizes, left = fitted.batch_sizes[shown].tolist(), rounded(fitted.residuals[shown])
        text = [
            f"{shape}<br>B = {size:g}: {100 * math.expm1(value):+.0f} % steps"
            for size, value in zip(sizes, left, strict=True)
        ]
        places = rounded(np.array(sizes) * sideways(index, len(one.fits)))
        data.append(layout.points(index, shape, places, left, text, mode="markers"))
        lines += _residual_lines(shape, fitted.batch_sizes[known], fitted.residuals[known])
    sizes = batch_sizes(one.table)
    data += [layout.guide("fitted curve", [sizes[0], sizes[-1]], [0, 0], "@muted", "solid")] if sizes else []
    note = (
        "log(steps / fitted steps) of every run that reached the target (points shifted sideways; at most "
        f"{most} drawn per shape, every k-th run), about steps = S_min (1 + B_crit/B). A trend along B says "
        "that the curve is the wrong one; so does a small lack-of-fit p in section 2's table."
    )
    figure = layout.figure(data, layout.log_axis("batch size B (examples)", sizes), layout.axis("log residual"))
    heads = ("shape", "batch size", "mean log residual", "standard deviation", "n (runs)")
    return Chart("residuals", "Residuals of the fit", figure, note, Table(heads, tuple(lines)))


def _residual_lines(shape: str, sizes: Any, left: Any) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for size in np.unique(sizes):
        here = left[sizes == size]
        sd = f"{here.std(ddof=1):.3f}" if len(here) > 1 else "-"
        lines.append((shape, f"{size:g}", f"{here.mean():+.3f}", sd, str(len(here))))
    return lines
