"""Speed-up and time against workers, wide against deep, as one static picture; matplotlib is imported on use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscope.analysis.formatting import number, tick
from batchscope.errors import StoreError
from batchscope.scaling.advice import Advice
from batchscope.writing import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#26285e", "#1f9e89", "#d98a1a", "#1c6a94", "#8a3b6f")
MARKERS = "osD^v"
INK, MUTED = "#1c2430", "#5c6773"
SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "batchscope",
    "svg.fonttype": "none",
}


def workers_figure(advices: Sequence[Advice], fixed: Sequence[Advice] = (), subtitle: str = "") -> Figure:
    """Left: speed-up over one worker; right: time to target, or cost where a price was given. Log2 axes.

    advices: each number of workers at its own best batch size, in its 95 % band; fixed: the same shapes, in the same
    order, at one batch size for every number of workers (dashed).
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 4.9), dpi=150)
        left, right = figure.subplots(1, 2)
        priced = all(advice.price is not None for advice in advices)
        _perfect(left, advices)
        for index, advice in enumerate(advices):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            _draw(left, advice, "speedup", colour, marker)
            _draw(right, advice, "cost" if priced else "seconds", colour, marker)
            if index < len(fixed):
                _draw_fixed(left, fixed[index], colour)
        _finish(left, "speed-up over one worker")
        _finish(right, "cost to target" if priced else "time to target (s)")
        speedups = [point.speedup for advice in (*advices, *fixed) for point in advice.points]
        left.set_ylim(0.8 * np.nanmin([*speedups, 0.625]), 2.5 * np.nanmax([*speedups, 2.0]))
        left.legend(loc="upper left")
        figure.text(0.02, 0.955, "What more workers buy", fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 0.915, subtitle, fontsize=8.5, color=MUTED)
        figure.text(0.02, 0.02, _note(advices, bool(fixed)), fontsize=7.5, color=MUTED)
        figure.subplots_adjust(left=0.07, right=0.98, top=0.87, bottom=0.19, wspace=0.3)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure (PNG, SVG or PDF by its ending); StoreError where that cannot be done."""
    import matplotlib

    with replaced(path) as draft, matplotlib.rc_context(SETTINGS):
        try:
            figure.savefig(draft, metadata={"Date": None} if draft.suffix == ".svg" else None)
        except ValueError as error:  # an ending that stands for no format
            raise StoreError(f"{path} cannot be written: {error}; choose .png, .svg or .pdf") from None
    return Path(path)


def _draw(axes: Axes, advice: Advice, name: str, colour: str, marker: str) -> None:
    workers = np.array([point.workers for point in advice.points])
    values = np.array([getattr(point, name) for point in advice.points])
    doublings = [k for k, count in enumerate(workers.tolist()) if count & (count - 1) == 0]
    axes.plot(workers, values, marker, ls="-", color=colour, markevery=doublings, ms=5, label=_label(advice))
    low, high = _band(advice, name)
    axes.fill_between(workers, low, high, color=colour, alpha=0.15, lw=0)
    saturation = advice.saturation.workers
    if name == "speedup" and saturation in workers and saturation < advice.saturation.most:
        axes.plot([saturation], [values[workers == saturation][0]], "o", ms=12, mfc="none", mec=colour, mew=1.5)


def _band(advice: Advice, name: str) -> tuple[Any, Any]:
    attribute = "speedup_interval" if name == "speedup" else "interval"
    ends = np.array([getattr(point, attribute) for point in advice.points]).T
    if name == "cost" and advice.price is not None:
        ends = ends * np.array([point.workers for point in advice.points]) / 3600 * advice.price
    return ends[0], ends[1]


def _draw_fixed(axes: Axes, advice: Advice, colour: str) -> None:
    workers = [point.workers for point in advice.points]
    label = f"{advice.name}, B = {number(round(advice.batch_size or 0))} throughout"
    axes.plot(workers, [point.speedup for point in advice.points], "--", color=colour, lw=1.3, label=label)


def _label(advice: Advice) -> str:
    return advice.name or "best batch size"


def _perfect(axes: Axes, advices: Sequence[Advice]) -> None:
    most = max(advice.points[-1].workers for advice in advices)
    axes.plot([1, most], [1, most], color=MUTED, lw=0.8, ls=":", label="perfect")


def _finish(axes: Axes, ylabel: str) -> None:
    axes.set(xlabel="workers P", ylabel=ylabel)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _position: tick(value))
    axes.grid(True, color="#dfe4ea", lw=0.8)
    axes.set_axisbelow(True)


def _note(advices: Sequence[Advice], fixed: bool) -> str:
    first = advices[0]
    note = (
        f"Solid: best batch size for each P, band: {100 * first.level:.0f} % of the steps to target. Ring: last worker "
        f"that saves {100 * first.saturation.worth:g} % of the time."
    )
    if fixed:
        note += " Dashed: the batch size that is best for one worker, kept."
    beyond = [point.workers for point in first.points if point.extrapolated_workers]
    return f"{note}\nExtrapolated from P = {beyond[0]} on." if beyond else note
