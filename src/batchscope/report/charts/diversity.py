"""Batch-size bound B_S = n * (gradient diversity) along training: the paper's Figure 2(a)."""

from __future__ import annotations

from batchscope.analysis.digest import Digest
from batchscope.analysis.diversity import MAX_SEEDS, middle
from batchscope.analysis.formatting import number
from batchscope.report.charts.axes import doubling, linear
from batchscope.report.charts.chart import Chart, Hue, Layer, Line, Panel, Points, Table
from batchscope.report.charts.registry import Section, chart_of

CAPTION = (
    "Batch-size bound B_S = n · sum ‖g_i‖² / ‖sum g_i‖² over the whole training set (Yin et al. 2018), exact at every "
    "point, so without interval, at the batch size where runs last longest, B = {sizes}. Faint: one line per seed (at "
    f"most {MAX_SEEDS} per shape); bold: their median, as long as half of them run; n = {{n}} runs."
)


@chart_of(Section.DIVERSITY)
def diversity(one: Digest) -> Chart | None:
    """B_S against epoch: seeds faintly, and the median of each shape."""
    if not one.curves:
        return None
    shapes = list(one.sweeps)
    layers = [layer for index, shape in enumerate(shapes) for layer in _shape(one, shape, Hue(index, len(shapes)))]
    panel = Panel(
        linear(f"epoch ({one.about.epoch})", [epoch for curve in one.curves for epoch in curve.epochs]),
        doubling("batch-size bound B_S (examples)", [bound for curve in one.curves for bound in curve.bounds]),
        tuple(layers),
    )
    sizes = " / ".join(str(size) for size in sorted({curve.batch_size for curve in one.curves}))
    caption = CAPTION.format(sizes=sizes, n=len(one.curves))
    return Chart("Gradient diversity along training", caption, (panel,), _table(one), "shape, wide to deep")


def _shape(one: Digest, shape: str, hue: Hue) -> list[Layer]:
    curves = [curve for curve in one.curves if curve.shape == shape]
    faint: list[Layer] = [
        Line("", hue, curve.epochs, curve.bounds, width=0.8, opacity=30, group=shape) for curve in curves
    ]
    epochs, bounds = map(tuple, middle(curves))
    hover = tuple(f"{shape}<br>median B_S = {number(bound)}, n = {len(curves)} runs" for bound in bounds)
    return [
        *faint,
        Line("", hue, epochs, bounds, width=2.0, group=shape),
        Points(shape, hue, epochs, bounds, hover=hover),
    ]


def _table(one: Digest) -> Table:
    lines = tuple(
        (curve.shape, str(curve.batch_size), str(curve.seed), number(epoch), number(bound))
        for curve in one.curves
        for epoch, bound in zip(curve.epochs, curve.bounds, strict=True)
    )
    return Table(("shape", "batch size", "seed", "epoch", "B_S (examples)"), lines)
