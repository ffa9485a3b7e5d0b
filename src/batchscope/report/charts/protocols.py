"""The threshold of every shape under both protocols of tuning."""

from __future__ import annotations

from batchscope.analysis.digest import Digest
from batchscope.report.charts.chart import Chart, Table
from batchscope.report.charts.estimates import OUTSIDE, batch_axis, side_by_side
from batchscope.report.charts.registry import Section, chart_of
from batchscope.report.terminal import PROTOCOLS_MEANING, protocol_words

HEADS = ("shape", "paper2018", "tuned", "ratio", "P(tuned larger)", "runs lost", "to the choice")


@chart_of(Section.TUNING)
def protocols(one: Digest) -> Chart | None:
    """B* under `paper2018` and `tuned`, where the rows of both are given."""
    if not one.protocols:
        return None
    both = {shape: [("paper2018", e.paper), ("tuned", e.tuned)] for shape, e in one.protocols.items()}
    y = batch_axis(one, f"B* by {one.definition} (examples per step)")
    panel = side_by_side("protocol that chose the step size", both, y)
    table = Table(HEADS, tuple(protocol_words(effect) for effect in one.protocols.values()), PROTOCOLS_MEANING)
    said = "; ".join(effect.sentence for effect in one.protocols.values())
    caption = f"Bars: 95 % bootstrap over seeds. {OUTSIDE} {said}."
    return Chart("B* under both protocols of tuning", caption, (panel,), table, "shape, wide to deep")
