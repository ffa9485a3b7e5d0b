"""The threshold of every shape against its mean B_S along training: the paper's Figure 2(c)."""

from __future__ import annotations

import dataclasses
import math

from batchscope.analysis import ThresholdEstimate
from batchscope.analysis.digest import Digest
from batchscope.analysis.diversity import AT_EQUAL_EPOCHS, has_curves
from batchscope.analysis.findings import correlate, diversities
from batchscope.report.charts.axes import doubling
from batchscope.report.charts.chart import Chart, Hue, Panel, Points, Table
from batchscope.report.charts.estimates import OUTSIDE, batch_axis, points, text
from batchscope.report.charts.registry import Section, chart_of


@chart_of(Section.DIVERSITY)
def diversity_threshold(one: Digest) -> Chart | None:
    """One point per shape, intervals in both directions."""
    bounds = diversities(one.sweeps)
    known = {shape: bound for shape, bound in bounds.items() if not math.isnan(bound.value)}
    if not known:
        return None
    shapes = list(one.sweeps)
    layers = tuple(
        _point(one.thresholds[shape], bound, Hue(shapes.index(shape), len(shapes))) for shape, bound in known.items()
    )
    ends = [end for bound in known.values() for end in (bound.value, *bound.interval)]
    x = doubling("batch-size bound B_S along training (examples)", ends)
    panel = Panel(x, batch_axis(one, f"B* by {one.definition} (examples per step)"), layers)
    title = "Threshold against gradient diversity"
    caption = _caption(one, bounds)
    return Chart(title, caption, (panel,), _table(one, known), "shape, wide to deep")


def _point(threshold: ThresholdEstimate, bound: ThresholdEstimate, hue: Hue) -> Points:
    point = points(threshold.shape, hue, [bound.value], [threshold])
    low, high = (None if math.isnan(end) else end for end in bound.interval)
    count = len(point.x)
    return dataclasses.replace(point, left=(low,) * count, right=(high,) * count)


def _caption(one: Digest, bounds: dict[str, ThresholdEstimate]) -> str:
    over = f"; {AT_EQUAL_EPOCHS}" if has_curves(list(one.sweeps.values())) else ""
    said = correlate(bounds, one.thresholds).sentence
    return (
        f"One point per shape; bars: 95 % bootstrap over seeds in both directions. {OUTSIDE} "
        f"B_S: {next(iter(bounds.values())).meaning}{over}. {said[:1].upper()}{said[1:]}"
    )


def _table(one: Digest, bounds: dict[str, ThresholdEstimate]) -> Table:
    heads = ("shape", "mean B_S [95 %]", f"B* by {one.definition} [95 %]", "n (runs)")
    thresholds = one.thresholds
    lines = tuple(
        (shape, text(bound), text(thresholds[shape]), str(thresholds[shape].n)) for shape, bound in bounds.items()
    )
    return Table(heads, lines)
