"""Tuned step sizes against batch size, with the linear and the square-root rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchscope.analysis.cells import batch_sizes
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import number
from batchscope.analysis.tuning import TunedCell
from batchscope.report.charts.axes import log_axis, sideways
from batchscope.report.charts.chart import Chart, Hue, Layer, Line, Panel, Points, Table
from batchscope.report.charts.registry import Section, chart_of

CAPTION = (
    "Step size (for the mean loss) chosen by protocol {protocol} at every shape and batch size, one choice per point "
    "(points are shifted sideways); ringed: at the edge of the grid tried, so that a better one may lie outside. "
    "Dotted: the linear rule, step size ~ B; dashed: the square-root rule, ~ sqrt(B); both through the geometric mean "
    "of the choices at the smallest batch size."
)
RACED = (
    " >=: a race ended the tuning of other step sizes when the first met the target, some of which might have diverged "
    "later."
)
HEADS = (
    "shape",
    "batch size",
    "step size",
    "smallest tried",
    "largest tried",
    "tried",
    "diverged while tuning",
    "edge",
    "runs lost",
)


@chart_of(Section.TUNING)
def step_sizes(one: Digest) -> Chart | None:
    """The tuned step size against batch size, with grid edges and the two scaling rules; None where none is given."""
    cells = tuple(cell for cell in one.tuning.cells if not math.isnan(cell.step_size))
    if not cells:
        return None
    shapes = list(dict.fromkeys(cell.shape for cell in cells))
    layers: list[Layer] = [*_rules(cells)]
    for index, shape in enumerate(shapes):
        chosen = [cell for cell in cells if cell.shape == shape]
        layers += _choices(shape, Hue(index, len(shapes)), chosen)
    panel = Panel(
        log_axis("batch size B (examples)", batch_sizes(one.table)),
        log_axis("step size", (cell.step_size for cell in cells), margin=1.6),
        tuple(layers),
    )
    caption = CAPTION.format(protocol=one.about.protocol)
    return Chart("Tuned step size against batch size", caption, (panel,), _table(cells), "shape, wide to deep")


def _choices(shape: str, hue: Hue, cells: Sequence[TunedCell]) -> tuple[Line, Points]:
    """The step size chosen at each batch size, ringed at the edge of the grid."""
    x = tuple(cell.batch_size * sideways(*hue) for cell in cells)
    y = tuple(cell.step_size for cell in cells)
    marks = tuple("ringed" if cell.edge else "filled" for cell in cells)
    points = Points(shape, hue, x, y, marks=marks, hover=tuple(map(_hover, cells)))  # type: ignore[arg-type]
    return Line("", hue, x, y, opacity=60, group=shape), points


def _rules(cells: Sequence[TunedCell]) -> list[Line]:
    """The linear and the square-root rule through the mean choice at the smallest batch size."""
    sizes = sorted({cell.batch_size for cell in cells})
    if len(sizes) < 2:
        return []
    chosen = [math.log(cell.step_size) for cell in cells if cell.batch_size == sizes[0]]
    start, ratio = math.exp(math.fsum(chosen) / len(chosen)), sizes[-1] / sizes[0]
    ends = (sizes[0], sizes[-1])
    return [
        Line("linear rule", "muted", ends, (start, start * ratio), "dotted"),
        Line("square-root rule", "muted", ends, (start, start * math.sqrt(ratio)), "dashed"),
    ]


def _hover(cell: TunedCell) -> str:
    tried = (
        f"{number(cell.grid_low)} to {number(cell.grid_high)}, {cell.num_step_sizes} tried"
        if cell.num_step_sizes
        else "not tuned here"
    )
    edge = f"<br>at the {cell.edge} edge of its grid" if cell.edge else ""
    return f"{cell.shape}<br>B = {cell.batch_size}: {number(cell.step_size)} ({tried}){edge}"


def _table(cells: Sequence[TunedCell]) -> Table:
    lines = tuple(
        (
            cell.shape,
            str(cell.batch_size),
            number(cell.step_size),
            number(cell.grid_low),
            number(cell.grid_high),
            str(cell.num_step_sizes),
            f"{'>= ' if cell.num_outrun else ''}{cell.num_diverged}",
            cell.edge or "-",
            f"{cell.num_lost} of {cell.num_final}",
        )
        for cell in cells
    )
    raced = RACED if any(cell.num_outrun for cell in cells) else ""
    return Table(HEADS, lines, f"Runs lost: final runs with the chosen step size that never met the target.{raced}")
