"""What more workers buy: speed-up, time and cost to target against their number, one line for each shape.

Drawn from advices, not from the rows alone: a time per step is measured or assumed (scaling/). The page's sliders move
the same layers: workers.js knows their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from batchscope.analysis.formatting import number
from batchscope.report.charts.axes import doubling, powers_of_two
from batchscope.report.charts.chart import Axis, Band, Chart, Hue, Layer, Line, Panel, Points, Table
from batchscope.scaling import Advice, Point
from batchscope.scaling.advice import Interval
from batchscope.scaling.tables import shown, worker_line

_BAND = "band: {level:.0f} % interval of the steps to target, time per step taken as known"
_SPEEDUP = (
    "Time on one worker over time on P, each at its own best batch size; {band}. Symbol: the last worker that "
    "saves {worth:g} % of the time. Dotted: perfect."
)
_TIME = "Steps to target times time per step, at the best batch size for each P; {band}.{deadline}"
_COST = "P workers for that time at the price of one worker for an hour, in its unit; {band}."


def workers_charts(advices: Sequence[Advice]) -> dict[str, Chart]:
    """Name -> chart. advices: of all shapes, wide to deep, on 1, 2, ... workers, with the same price and deadline."""
    first = advices[0]
    deadline = () if first.deadline is None else (_level(advices, first.deadline),)
    words = {
        "band": _BAND.format(level=100 * first.level),
        "worth": 100 * first.saturation.worth,
        "deadline": " Dotted: the deadline." if deadline else "",
    }
    last = [_last_paying(advice, hue) for advice, hue in _hues(advices)]
    speedups = _layers(advices, lambda p: p.speedup, lambda p: p.speedup_interval)
    times = _layers(advices, lambda p: p.seconds, lambda p: p.interval)
    costs = _layers(advices, lambda p: p.cost, _cost_interval)
    return {
        "workers_speedup": _chart(
            advices, "Speed-up", "speed-up over one worker", _SPEEDUP, words, [_perfect(advices), *speedups, *last]
        ),
        "workers_time": _chart(advices, "Time", "time to target (s)", _TIME, words, [*deadline, *times]),
        "workers_cost": _chart(advices, "Cost", "cost to target", _COST, words, costs),
    }


def workers_picture(advices: Sequence[Advice], kept: Sequence[Advice] = ()) -> Chart:
    """Speed-up beside the time to target, or beside its cost where a price was given: what `batchscope advise` draws.

    kept: the same shapes, in the same order, at one batch size for every number of workers (dashed).
    """
    charts = workers_charts(advices)
    second = charts["workers_time" if advices[0].price is None else "workers_cost"]
    speedup, right = charts["workers_speedup"].panels[0], second.panels[0]
    dashed = [_dashed(advice, hue) for advice, hue in _hues(kept)]
    layers = (*speedup.layers, *dashed)
    heights = doubling(speedup.y.title, [height for layer in layers for height in _heights(layer)])
    caption = f"Left: {charts['workers_speedup'].caption} Right: {second.caption}"
    if dashed:
        caption += " Dashed: the batch size that is best for one worker, kept."
    beyond = [point.workers for point in advices[0].points if point.extrapolated_workers]
    if beyond:
        caption += f" Extrapolated from P = {beyond[0]} on."
    left = replace(speedup, y=heights, layers=layers)
    return Chart("What more workers buy", caption, (left, right), legend="shape, wide to deep")


def _dashed(advice: Advice, hue: Hue) -> Line:
    known = [point for point in advice.points if _is_known(point)]
    name = f"{advice.name}, B = {number(round(advice.batch_size or 0))} kept"
    x, y = tuple(float(point.workers) for point in known), tuple(point.speedup for point in known)
    return Line(name, hue, x, y, "dashed")


def has_band(advice: Advice) -> bool:
    """Whether the intervals of all points are known."""
    return all(math.isfinite(end) for point in advice.points if _is_known(point) for end in point.interval)


def _is_known(point: Point) -> bool:
    return math.isfinite(point.seconds)


def _chart(
    advices: Sequence[Advice], what: str, title: str, caption: str, words: dict[str, object], layers: Sequence[Layer]
) -> Chart:
    heights = [height for layer in layers for height in _heights(layer)]
    panel = Panel(_workers_axis(advices), doubling(title, heights), tuple(layers))
    title = f"{what} against the number of workers"
    return Chart(title, caption.format(**words), (panel,), _table(advices), legend="shape, wide to deep")


def _table(advices: Sequence[Advice]) -> Table:
    """All shapes at the doublings; it stays when sliders move."""
    heads = ("shape", "workers", "batch", "time to target", "95 % interval", "speed-up", "last worker saves", "cost")
    lines = [(advice.name, *worker_line(point, True)) for advice in advices for point in shown(advice.points)]
    return Table(heads, tuple(lines), "Where the sliders begin.")


def _heights(layer: Layer) -> Sequence[float]:
    if isinstance(layer, Band):
        return (*layer.low, *layer.high)
    return layer.y if isinstance(layer, Line | Points) else ()


def _workers_axis(advices: Sequence[Advice]) -> Axis:
    most = advices[0].points[-1].workers
    return doubling("workers P", powers_of_two(1, most))


def _hues(advices: Sequence[Advice]) -> list[tuple[Advice, Hue]]:
    return [(advice, Hue(index, len(advices))) for index, advice in enumerate(advices)]


def _layers(
    advices: Sequence[Advice], value: Callable[[Point], float], ends: Callable[[Point], Interval]
) -> list[Layer]:
    """Per shape its band, where it has one, then its line."""
    layers: list[Layer] = []
    for advice, hue in _hues(advices):
        known = [point for point in advice.points if _is_known(point)]
        x = tuple(float(point.workers) for point in known)
        if has_band(advice):
            low, high = (tuple(ends(point)[k] for point in known) for k in (0, 1))
            layers.append(Band(hue, x, low, high, group=advice.name))
        layers.append(Line(advice.name, hue, x, tuple(map(value, known)), width=2))
    return layers


def _cost_interval(point: Point) -> Interval:
    low, high = (end * point.cost / point.seconds for end in point.interval)
    return low, high


def _perfect(advices: Sequence[Advice]) -> Line:
    most = float(advices[0].points[-1].workers)
    return Line("perfect", "muted", (1.0, most), (1.0, most), "dotted")


def _level(advices: Sequence[Advice], seconds: float) -> Line:
    return Line("deadline", "muted", (1.0, float(advices[0].points[-1].workers)), (seconds, seconds), "dotted")


def _last_paying(advice: Advice, hue: Hue) -> Points:
    last = advice.points[advice.saturation.workers - 1]
    return Points(advice.name, hue, (float(last.workers),), (last.speedup,))
