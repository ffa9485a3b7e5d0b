"""Advice as tables and sentences for a terminal of 100 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.analysis.formatting import duration, grouped, number, text_table
from batchscope.analysis.verdict import EQUAL_PARAMETERS
from batchscope.scaling.advice import Advice, Point
from batchscope.scaling.design import interval_text

if TYPE_CHECKING:
    from rich.table import Table

MOST_LINES = 12  # of a table of workers: beyond, doublings stand for all


def shapes_table(advices: Sequence[Advice]) -> Table:
    """One line per shape: how far it scales, and what it is worth there."""
    first = advices[0]
    heads = (
        "shape",
        "parameters",
        "B_crit [95 %]",
        "pay up to",
        "fastest P",
        "batch",
        "time",
        "speed-up",
    )
    title = f"How many workers each shape can use (one pays that saves {100 * first.saturation.worth:g} % of the time)"
    return text_table(heads, map(_shape_line, advices), title)


def _shape_line(advice: Advice) -> tuple[str, ...]:
    best = advice.fastest
    return (
        advice.name,
        grouped(advice.model.num_parameters),
        advice.curve.text,
        advice.saturation.text,
        grouped(best.workers),
        _batch(best),
        duration(best.seconds),
        f"{best.speedup:.3g}",
    )


def workers_table(advice: Advice) -> Table:
    """One line per number of workers (doublings, where there are many): batch, time, speed-up, gain, cost."""
    heads = ["workers", "batch", "time to target", "95 % interval", "speed-up", "last worker saves"]
    if advice.price is not None:
        heads.append("cost")
    lines = [worker_line(point, advice.price is not None) for point in shown(advice.points)]
    return text_table(heads, lines, advice.name, left=())


def shown(points: Sequence[Point]) -> list[Point]:
    """All points, or the doublings and the last where there are many."""
    if len(points) <= MOST_LINES:
        return list(points)
    return [p for p in points if p.workers & (p.workers - 1) == 0 or p is points[-1]]


def worker_line(point: Point, with_cost: bool) -> list[str]:
    """The cells of one number of workers, under the heads of `workers_table`."""
    line = [
        f"{point.workers}{' (extrapolated)' if point.extrapolated_workers else ''}",
        _batch(point),
        duration(point.seconds),
        interval_text(point.interval) or "-",
        "-" if math.isnan(point.speedup) else f"{point.speedup:.3g}",
        gain_text(point.gain),
    ]
    return [*line, money(point.cost)] if with_cost else line


def _batch(point: Point) -> str:
    size = "-" if math.isnan(point.batch_size) else number(round(point.batch_size))
    return f"{size}*" if point.extrapolated_batch else size


def gain_text(gain: float) -> str:
    """``3 %``, ``0.4 %``, ``nothing``; "-" for the first."""
    if math.isnan(gain):
        return "-"
    return "nothing" if gain < 5e-5 else f"{100 * gain:.2g} %"


def money(cost: float) -> str:
    """In the unit of the price, with three digits."""
    return "-" if math.isnan(cost) else f"{cost:.3g}" if cost < 1000 else grouped(round(cost))


def against(wide: Advice, deep: Advice) -> str:
    """Wide against deep in one sentence: the motive of Chen et al. 2018, section 1, for these two shapes."""
    sizes = [advice.model.num_parameters for advice in (wide, deep)]
    equal = max(sizes) <= (1 + EQUAL_PARAMETERS) * min(sizes)
    condition = "at equal parameters" if equal else f"at {grouped(sizes[0])} and {grouped(sizes[1])} parameters"
    names = f"Wide ({wide.name}) against deep ({deep.name}) {condition}"
    if all(advice.fastest.workers == advice.reference for advice in (wide, deep)):
        return f"{names}: neither gets faster by a second worker."
    return (
        f"{names}: workers pay up to {wide.saturation.text} and {deep.saturation.text}; at their fastest, the two are "
        f"{wide.fastest.speedup:.3g} and {deep.fastest.speedup:.3g} times as fast as on one worker."
    )
