"""The largest batch that reaches the target within E epochs: the paper's Figures 2(b) and 5."""

from __future__ import annotations

from batchscope.analysis import ThresholdEstimate, batch_threshold
from batchscope.analysis.digest import Digest, epoch_limits
from batchscope.analysis.formatting import number
from batchscope.report.charts.axes import categories
from batchscope.report.charts.chart import Chart, Hue, Panel
from batchscope.report.charts.estimates import OUTSIDE, batch_axis, num_runs, points, shape_table
from batchscope.report.charts.registry import Section, chart_of

NUM_LIMITS = 40  # numbers of epochs E to choose from
CAPTION = (
    "Largest batch size that reaches the target within E epochs in at least half of the seeds, interpolated in log-log "
    "between tested sizes (definition within_epochs(E), the paper's Figures 2(b) and 5); bars, and brackets in the "
    "table: 95 % bootstrap over seeds. {outside} n = {n} runs."
)


@chart_of(Section.WITHIN_EPOCHS)
def largest_batch(one: Digest) -> Chart | None:
    """The largest batch of every shape within E epochs, for E from the fastest cell to the slowest run."""
    limits = epoch_limits(one.table, NUM_LIMITS)
    if not limits:
        return None
    within = [batch_threshold(one.sweeps, f"within_epochs({limit:.12g})") for limit in limits]
    panels = tuple(_panel(one, number(limit), found) for limit, found in zip(limits, within, strict=True))
    asked = {
        shape: [(number(limit), found[shape]) for limit, found in zip(limits, within, strict=True)]
        for shape in one.sweeps
    }
    caption = CAPTION.format(outside=OUTSIDE, n=num_runs(one))
    table = shape_table("E (epochs)", asked)
    return Chart("Largest batch within E epochs", caption, panels, table, slider="epochs allowed, E =")


def _panel(one: Digest, title: str, found: dict[str, ThresholdEstimate]) -> Panel:
    shapes = list(one.sweeps)
    layers = tuple(points("", Hue(k, len(shapes)), [k], [found[shape]]) for k, shape in enumerate(shapes))
    y = batch_axis(one, "largest batch size (examples per step)")
    return Panel(categories("shape, wide to deep", shapes), y, layers, title)
