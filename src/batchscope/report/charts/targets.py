"""The threshold of every shape had the target been easier."""

from __future__ import annotations

from batchscope.analysis import sensitivity
from batchscope.analysis.digest import Digest
from batchscope.report.charts.chart import Chart
from batchscope.report.charts.estimates import OUTSIDE, batch_axis, num_runs, shape_table, side_by_side
from batchscope.report.charts.registry import Section, chart_of


@chart_of(Section.SENSITIVITY)
def targets(one: Digest) -> Chart | None:
    """B* by target, from the checks of the same runs; None where they have no histories."""
    found = sensitivity.by_target(one.rows, definition=one.definition, sweeps=one.sweeps)
    if not found:
        return None
    asked = {shape: [(f"{level:g}", e) for level, e in levels.items()] for shape, levels in found.items()}
    title = f"target, the study's own ({one.about.target}) first"
    panel = side_by_side(title, asked, batch_axis(one, f"B* by {one.definition} (examples per step)"))
    caption = (
        f"Threshold by {one.definition} had the target been easier, from the checks of the same n = {num_runs(one)} "
        f"runs; bars: 95 % bootstrap over seeds. {OUTSIDE}"
    )
    return Chart("B* by target", caption, (panel,), shape_table("target", asked), "shape, wide to deep")
