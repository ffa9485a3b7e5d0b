"""The threshold of every shape by every definition: the same runs, asked differently."""

from __future__ import annotations

from batchscope.analysis import sensitivity
from batchscope.analysis.digest import Digest
from batchscope.report.charts.axes import doubling
from batchscope.report.charts.chart import Chart, Panel
from batchscope.report.charts.estimates import OUTSIDE, drawn, num_runs, shape_table, side_by_side
from batchscope.report.charts.registry import Section, chart_of

WHOLE_RUNS = "Here mean_diversity is along the whole of each shape's runs; the chart by shape compares equal epochs."


@chart_of(Section.SENSITIVITY)
def definitions(one: Digest) -> Chart | None:
    """B* by definition."""
    if not one.sweeps:
        return None
    asked = {shape: list(found.items()) for shape, found in sensitivity.by_definition(one.sweeps).items()}
    meanings = {e.definition: e.meaning for named in asked.values() for _, e in named}
    said = "; ".join(f"{name}: {meaning}" for name, meaning in meanings.items())
    heights = drawn(side_by_side("", asked, doubling("", ())))
    panel: Panel = side_by_side("definition of B*", asked, doubling("B* (examples per step)", heights))
    caption = f"{said}. Bars: 95 % bootstrap intervals. {OUTSIDE} n = {num_runs(one)} runs. {WHOLE_RUNS}"
    return Chart("B* by definition", caption, (panel,), shape_table("definition", asked), "shape, wide to deep")
