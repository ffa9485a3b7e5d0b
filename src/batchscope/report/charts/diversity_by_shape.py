"""Batch-size bound B_S of every shape along training, at the epochs and batch sizes that all shapes share."""

from __future__ import annotations

import math

from batchscope.analysis.digest import Digest
from batchscope.analysis.diversity import AT_EQUAL_EPOCHS, has_curves
from batchscope.analysis.findings import diversities
from batchscope.report.charts.axes import categories, doubling
from batchscope.report.charts.chart import Chart, Hue, Panel
from batchscope.report.charts.estimates import drawn, num_runs, points, shape_table
from batchscope.report.charts.registry import Section, chart_of


@chart_of(Section.DIVERSITY)
def diversity_by_shape(one: Digest) -> Chart | None:
    """Mean B_S of each shape with its interval, wide to deep."""
    bounds = diversities(one.sweeps)
    if all(math.isnan(bound.value) for bound in bounds.values()):
        return None
    x = categories("shape, wide to deep", list(bounds))
    layers = tuple(points("", Hue(k, len(bounds)), [k], [bound]) for k, bound in enumerate(bounds.values()))
    y = doubling("B_S along training (examples)", drawn(Panel(x, x, layers)))
    over = f"; {AT_EQUAL_EPOCHS}" if has_curves(list(one.sweeps.values())) else ""
    meaning = next(iter(bounds.values())).meaning
    caption = f"B_S: {meaning}{over}. Bars: 95 % bootstrap over seeds. n = {num_runs(one)} runs."
    table = shape_table("quantity", {shape: [("B_S", bound)] for shape, bound in bounds.items()})
    return Chart("Gradient diversity by shape", caption, (Panel(x, y, layers),), table)
