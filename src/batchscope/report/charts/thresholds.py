"""Charts of thresholds: within E epochs (with a slider), by definition, by target, and against gradient diversity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from batchscope.analysis import Correlation, ThresholdEstimate, batch_threshold
from batchscope.analysis.cells import batch_sizes
from batchscope.analysis.digest import Digest, epoch_limits
from batchscope.analysis.diversity import AT_EQUAL_EPOCHS, has_curves
from batchscope.analysis.formatting import number
from batchscope.report.charts.words import correlation_text, threshold_text
from batchscope.report.drawing import interactive as layout
from batchscope.report.page.parts import Chart, Table
from batchscope.report.terminal import PROTOCOLS_MEANING, protocol_words

WHOLE_RUNS = " mean_diversity is along the whole of each shape's runs here; section 6 compares shapes at equal epochs."
NUM_LIMITS = 40  # positions of the slider
WITHIN = (
    "Largest batch size that reaches the target within E epochs in at least half of the seeds, interpolated in "
    "log-log between tested sizes (definition within_epochs(E), the paper's Figures 2(b) and 5); bars and brackets: "
    "95 % bootstrap over seeds. Open arrow up: beyond the largest size tested; open arrow down: below the smallest. "
    "n: {n} runs."
)


def estimates_trace(
    index: int, name: str, x: Sequence[Any], estimates: Sequence[ThresholdEstimate], **more: Any
) -> dict[str, Any]:
    """Return thresholds with their intervals: filled where they are numbers, open arrows outside the sweep."""
    heights = [_height(estimate) for estimate in estimates]
    ends = [_ends(estimate, height) for estimate, height in zip(estimates, heights, strict=True)]
    return layout.points(index, name, x, heights, [_hover(estimate) for estimate in estimates], mode="markers") | {
        "marker": {
            "color": layout.colour(index),
            "symbol": [_symbol(estimate, index) for estimate in estimates],
            "size": 12,
            "line": {"width": 2, "color": layout.colour(index)},
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [high for _, high in ends],
            "arrayminus": [low for low, _ in ends],
            "color": layout.colour(index),
            "thickness": 1.4,
            "width": 5,
        },
        **more,
    }


def _height(estimate: ThresholdEstimate) -> float | None:
    value = estimate.limit if estimate.censored else estimate.value
    return None if math.isnan(value) else float(f"{value:.4g}")


def _ends(estimate: ThresholdEstimate, height: float | None) -> tuple[float | None, float | None]:
    """Return the bars' lengths down and up, cut at the ends of the sweep; None without an interval."""
    low, high = estimate.interval
    if height is None or math.isnan(low):
        return None, None
    low, high = (min(max(end, estimate.smallest), estimate.largest) for end in (low, high))
    return float(f"{max(height - low, 0):.4g}"), float(f"{max(high - height, 0):.4g}")


def _symbol(estimate: ThresholdEstimate, index: int) -> str:
    return {">": "arrow-up-open", "<": "arrow-down-open"}.get(estimate.censored, layout.symbol(index))


def _drawn(trace: dict[str, Any]) -> list[float]:
    """The heights of a trace's points and of the ends of their bars."""
    bars = zip(trace["y"], trace["error_y"]["arrayminus"], trace["error_y"]["array"], strict=True)
    return [end for y, down, up in bars if y is not None for end in (y - (down or 0), y + (up or 0))]


def _hover(estimate: ThresholdEstimate) -> str:
    why = f"<br>{estimate.statement}" if estimate.statement else ""
    return f"{estimate.shape}<br>{threshold_text(estimate)}<br>{estimate.definition}, n = {estimate.n} runs{why}"


def within_epochs(one: Digest) -> Chart:
    """Return the largest batch of every shape within E epochs; a slider chooses E."""
    limits = epoch_limits(one.table, NUM_LIMITS)
    within = {limit: batch_threshold(one.sweeps, f"within_epochs({limit:g})") for limit in limits}
    start = len(limits) // 2
    shapes = list(one.sweeps)
    frames = [_frame(within[limit], shapes) for limit in limits]
    shown = within[limits[start]] if limits else {}
    data = [
        estimates_trace(k, shape, [shape], [shown[shape]], showlegend=False) for k, shape in enumerate(shapes) if shown
    ]
    figure = layout.figure(
        data,
        layout.axis("shape, wide to deep", type="category"),
        _batch_axis(one, "largest batch size (examples per step)"),
    )
    table = _grid_table("E (epochs)", {number(limit): within[limit] for limit in limits}, shapes)
    values = [f"{limit:g}" for limit in limits]
    slider = {"label": "epochs allowed, E =", "values": values, "start": start, "frames": frames} if limits else None
    note = WITHIN.format(n=sum(sweep.num_runs for sweep in one.sweeps.values()))
    return Chart("within-epochs", "Largest batch within E epochs", figure, note, table, slider)


def _frame(estimates: Mapping[str, ThresholdEstimate], shapes: Sequence[str]) -> dict[str, Any]:
    """Return what changes with E, one entry per trace, as plotly's restyle takes it."""
    traces = [estimates_trace(k, shape, [shape], [estimates[shape]]) for k, shape in enumerate(shapes)]
    return {
        "y": [trace["y"] for trace in traces],
        "text": [trace["text"] for trace in traces],
        "marker.symbol": [trace["marker"]["symbol"] for trace in traces],
        "error_y.array": [trace["error_y"]["array"] for trace in traces],
        "error_y.arrayminus": [trace["error_y"]["arrayminus"] for trace in traces],
    }


def _batch_axis(one: Digest, title: str) -> dict[str, Any]:
    sizes = batch_sizes(one.table)
    return layout.log_axis(title, sizes, *((sizes[0] / 1.7, sizes[-1] * 1.7) if sizes else ()))


def _grid_table(
    head: str, lines: Mapping[str, Mapping[str, ThresholdEstimate]], shapes: Sequence[str], caption: str = ""
) -> Table:
    """Return one line per key, one column per shape: value [interval]."""
    body = tuple((key, *(threshold_text(estimates[shape]) for shape in shapes)) for key, estimates in lines.items())
    text = (
        caption or "Value [95 % bootstrap interval over seeds], examples per step; > and <: outside the sizes tested."
    )
    return Table((head, *shapes), body, text)


def by_definition(one: Digest, asked: Mapping[str, Mapping[str, ThresholdEstimate]]) -> Chart:
    """Return the threshold of every shape by every definition. asked: shape -> definition -> estimate."""
    data, x = _side_by_side("definition of B*", asked)
    meanings = {e.definition: e.meaning for estimates in asked.values() for e in estimates.values()}
    ends = [end for trace in data for end in _drawn(trace)]
    figure = layout.figure(data, x, layout.doubling(ends, "B* (examples per step)"))
    note = "; ".join(f"{name}: {meaning}" for name, meaning in meanings.items())
    n = sum(sweep.num_runs for sweep in one.sweeps.values())
    table = _transposed("definition", asked)
    return Chart(
        "by-definition",
        "B* by definition",
        figure,
        f"{note}. Bars: 95 % bootstrap intervals; n = {n} runs.{WHOLE_RUNS}",
        table,
    )


def by_protocol(one: Digest) -> Chart:
    """Return the threshold of every shape under both protocols of tuning."""
    both = {shape: {"paper2018": e.paper, "tuned": e.tuned} for shape, e in one.protocols.items()}
    data, x = _side_by_side("protocol that chose the step size", both)
    figure = layout.figure(data, x, _batch_axis(one, f"B* by {one.definition} (examples per step)"))
    heads = ("shape", "paper2018", "tuned", "ratio", "P(tuned larger)", "runs lost", "to the choice")
    table = Table(heads, tuple(protocol_words(effect) for effect in one.protocols.values()), PROTOCOLS_MEANING)
    note = f"Bars: 95 % bootstrap over seeds. {'; '.join(e.sentence for e in one.protocols.values())}."
    return Chart("by-protocol", "B* under both protocols of tuning", figure, note, table)


def by_target(one: Digest, asked: Mapping[str, Mapping[float, ThresholdEstimate]]) -> Chart:
    """Return the threshold of every shape had the target been easier. asked: shape -> level -> estimate."""
    named = {shape: {f"{level:.4g}": e for level, e in levels.items()} for shape, levels in asked.items()}
    data, x = _side_by_side(f"target, the study's own ({one.about.target}) first", named)
    figure = layout.figure(data, x, _batch_axis(one, f"B* by {one.definition} (examples per step)"))
    note = (
        f"Threshold by {one.definition} had the target been easier, from the checks of the same "
        f"n = {sum(sweep.num_runs for sweep in one.sweeps.values())} runs; bars: 95 % bootstrap over seeds."
    )
    return Chart("by-target", "B* by target", figure, note, _transposed("target", named))


def _side_by_side(
    title: str, asked: Mapping[str, Mapping[str, ThresholdEstimate]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return (traces, x axis): one group of points per key, the shapes beside each other within it."""
    keys = list(dict.fromkeys(key for estimates in asked.values() for key in estimates))
    data = []
    for k, (shape, estimates) in enumerate(asked.items()):
        shift = 0.6 * (k - (len(asked) - 1) / 2) / len(asked)
        places = [round(keys.index(key) + shift, 3) for key in estimates]
        data.append(estimates_trace(k, shape, places, list(estimates.values())))
    return data, layout.axis(title, tickvals=list(range(len(keys))), ticktext=keys, range=[-0.5, len(keys) - 0.5])


def _transposed(head: str, asked: Mapping[str, Mapping[str, ThresholdEstimate]]) -> Table:
    keys = list(dict.fromkeys(key for estimates in asked.values() for key in estimates))
    return _grid_table(head, {key: {shape: asked[shape][key] for shape in asked} for key in keys}, list(asked))


def against_diversity(one: Digest, diversities: Mapping[str, ThresholdEstimate], correlation: Correlation) -> Chart:
    """Return the threshold of every shape against its mean B_S along training: the paper's Figure 2(c)."""
    shapes = [shape for shape in one.thresholds if not math.isnan(diversities[shape].value)]
    known = [end for shape in shapes for end in (diversities[shape].value, *diversities[shape].interval)]
    data = []
    for shape in shapes:
        index, diversity = list(one.thresholds).index(shape), diversities[shape]
        trace = estimates_trace(index, shape, [float(f"{diversity.value:.4g}")], [one.thresholds[shape]])
        low, high = diversity.interval
        if not math.isnan(low):
            bar = {"type": "data", "symmetric": False, "color": layout.colour(index), "thickness": 1.4, "width": 5}
            trace["error_x"] = bar | {"array": [high - diversity.value], "arrayminus": [diversity.value - low]}
        data.append(trace)
    figure = layout.figure(
        data,
        layout.doubling(known, "batch-size bound B_S along training (examples)"),
        _batch_axis(one, f"B* by {one.definition} (examples per step)"),
    )
    over = f"; {AT_EQUAL_EPOCHS}" if has_curves(list(one.sweeps.values())) else ""
    note = (
        "One point per shape; bars: 95 % bootstrap over seeds in both directions. B_S: "
        f"{diversities[shapes[0]].meaning}{over}. {correlation_text(correlation)}"
        if shapes
        else ""
    )
    lines = tuple(
        (shape, threshold_text(diversities[shape]), threshold_text(one.thresholds[shape]), str(one.thresholds[shape].n))
        for shape in shapes
    )
    table = Table(("shape", "mean B_S [95 %]", f"B* by {one.definition} [95 %]", "n (runs)"), lines)
    return Chart("diversity-threshold", "Threshold against gradient diversity", figure, note, table)
