"""The section on workers: three charts, a table, and sliders for bandwidth, latency, price and deadline.

Python writes the section with the sliders where they begin; the page's script (assets/workers.js) computes the same
numbers anew wherever they are moved to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import duration, grouped, number
from batchscope.report.charts.chart import Table
from batchscope.report.charts.workers import has_band, workers_charts
from batchscope.report.page.parts import PagePart, table_html
from batchscope.scaling import Advice, TimeModel
from batchscope.scaling.advising import advise_each
from batchscope.scaling.tables import money
from batchscope.scaling.time_model import TRUSTED, rate

TITLE = "What more workers buy"
MOST = 64  # workers
PRICE = 1.0  # of one worker for an hour, where the slider begins
DEADLINE = 0.5  # where its slider begins, of the first shape's time on one worker
DECIBELS = {"bandwidth": 30, "latency": 20, "price": 20, "deadline": 30}  # a slider's steps each way, 10 to a decade
NAMES = {
    "bandwidth": "bandwidth of a link",
    "latency": "latency of a message",
    "price": "price of a worker for an hour",
    "deadline": "deadline",
}
DIGITS = 9  # of the logarithms of a curve: a billionth of its steps
HEADS = ("shape", "pay up to", "fastest P", "batch", "time there", "speed-up", "cost there", "P for the deadline")
CAPTION = (
    "Pay up to: the last worker that saves {worth:g} % of the time, with its {level:.0f} % interval. There: at the "
    "number of workers with the least time to target, up to {most}; * outside the batch sizes at which runs met the "
    "target. P for the deadline: the fewest workers that keep it; surely: by the upper end of the interval of time."
)


def workers_part(one: Digest, times: Mapping[str, TimeModel], prefix: str) -> PagePart:
    """The section of a study. times: shape -> time model. prefix: of the study's ids on the page."""
    first = advise_each(times, one.fits, workers=range(1, MOST + 1))[0]
    if not first:
        return PagePart(TITLE, ("No shape has both a fitted curve of steps to target and a time per step.",))
    deadline = _round_number(DEADLINE * next(iter(first.values())).points[0].seconds)
    advices, left_out = advise_each(times, one.fits, workers=range(1, MOST + 1), price=PRICE, deadline=deadline)
    shown = list(advices.values())
    notes = [f"{shape} is left out: {reason}." for shape, reason in left_out.items()]
    return PagePart(
        TITLE,
        (_about(shown), *notes),
        workers_charts(shown),
        lead=_controls(shown, prefix) + _table(shown, prefix),
        computed={"price": PRICE, "deadline": deadline, "shapes": [_packed(advice) for advice in shown]},
    )


def _round_number(value: float) -> float:
    """To two digits."""
    return float(f"{value:.2g}") if math.isfinite(value) else 3600.0


def _about(advices: Sequence[Advice]) -> str:
    """Where the numbers come from, and from where on they are extrapolated."""
    models = [advice.model for advice in advices]
    origins = "; ".join(dict.fromkeys(model.origin for model in models))
    timed = min(model.measured_workers for model in models)
    pattern = models[0].pattern.replace("_", " ")
    return (
        f"Time per step: {origins}. Exchange by {pattern}. More than {TRUSTED * timed} workers are extrapolated: "
        f"{'one was' if timed == 1 else f'{timed} were'} timed. Where the sliders begin, these are the numbers of "
        f"batchscope advise DIR --times FILE --price {advices[0].price:g} --deadline {advices[0].deadline:g}s."
    )


def _controls(advices: Sequence[Advice], prefix: str) -> str:
    first = advices[0]
    begins = {
        "bandwidth": _common([rate(advice.model.bandwidth) for advice in advices]),
        "latency": _common([duration(advice.model.latency) for advice in advices]),
        "price": money(first.price or math.nan),
        "deadline": duration(first.deadline or math.nan),
    }
    labels = "".join(
        f'<label><span>{NAMES[name]}</span> <input type="range" name="{name}" min="{-steps}" max="{steps}" step="1" '
        f'value="0" data-workers="{escape(prefix)}"> <output>{escape(begins[name])}</output></label>'
        for name, steps in DECIBELS.items()
    )
    return f'<div class="controls">{labels}</div>'


def _common(texts: Sequence[str]) -> str:
    """What all have, or that the slider multiplies what each has."""
    return texts[0] if len(set(texts)) == 1 else "× 1"


def _table(advices: Sequence[Advice], prefix: str) -> str:
    first = advices[0]
    caption = CAPTION.format(worth=100 * first.saturation.worth, level=100 * first.level, most=MOST)
    table = table_html(Table(HEADS, tuple(map(line, advices)), caption))
    return f'<div id="{escape(prefix)}-workers-table">{table}</div>'


def line(advice: Advice) -> tuple[str, ...]:
    """The line of one shape; the page's script writes the same."""
    best = advice.fastest
    return (
        advice.name,
        advice.saturation.text,
        grouped(best.workers),
        f"{number(round(best.batch_size))}{'*' if best.extrapolated_batch else ''}",
        duration(best.seconds),
        f"{best.speedup:.3g}",
        money(best.cost),
        _in_time(advice),
    )


def _in_time(advice: Advice) -> str:
    if advice.in_time is None:
        return "none"
    if math.isnan(advice.in_time.interval[1]):
        return str(advice.in_time.workers)
    surely = "none" if advice.in_time_surely is None else advice.in_time_surely.workers
    return f"{advice.in_time.workers}; surely: {surely}"


def _packed(advice: Advice) -> dict[str, Any]:
    """What the script needs to know of a shape."""
    model, curve = advice.model, advice.curve
    names = ("overhead", "per_example", "size", "bandwidth", "latency", "overlap", "handling", "pattern")
    return {
        **{name: getattr(model, name) for name in (*names, "max_local_batch")},
        "name": advice.name,
        "curves": np.round(curve.all_parameters, DIGITS).tolist(),
        "limits": curve.limits(),
        "smallest": curve.smallest,
        "largest": curve.largest,
        "worth": advice.saturation.worth,
        "most": advice.saturation.most,
        "level": advice.level,
        "band": has_band(advice),
    }
