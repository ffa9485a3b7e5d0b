"""Batch-size bound B_S of every block of a network and kind of layer in it, from the inputs to the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Protocol

from batchscope.analysis.formatting import number
from batchscope.report.charts.axes import categories, doubling
from batchscope.report.charts.chart import Band, Chart, Hue, Layer, Line, Panel, Points, Table

CAPTION = (
    "B_S = n · sum ‖g_i‖² / ‖sum g_i‖² over the n examples, from the gradients g_i of the parameters of one block and "
    "kind (Yin et al. 2018). {marks}Dashed: all parameters together. Open triangle: infinite, sum g_i = 0."
)
MANY = "Dots: runs; marks and line: their median; shaded: all parameters, from the least run to the greatest. "
STEP = 0.24  # between the kinds of a block, in widths of a block
Key = tuple[str, str]  # block, kind


class Bounded(Protocol):
    """Anything with a batch-size bound (examples): infinite where Q = 0 < S1, NaN where all gradients are zero."""

    @property
    def batch_size_bound(self) -> float:
        """B_S, in examples."""


class MeasuredBlocks(Protocol):
    """What is drawn of a `batchscope.measure` report."""

    @property
    def by_block_and_kind(self) -> Mapping[Key, Bounded]:
        """(block, kind) -> its moments."""

    @property
    def by_kind(self) -> Mapping[str, Bounded]:
        """Kind -> its moments."""

    @property
    def total(self) -> Bounded:
        """Moments of all parameters."""


def block_diversity(panels: Mapping[str, Sequence[MeasuredBlocks]]) -> Chart:
    """B_S (examples, log2) per block and kind, one panel for each title.

    panels: title -> reports of networks of one shape (seeds, or a single one). Where Q = 0 < S1 the bound is infinite:
    an open triangle at the top. NaN is not drawn.
    """
    every = [run for runs in panels.values() for run in runs]
    keys = list(dict.fromkeys(key for run in every for key in run.by_block_and_kind))
    places, kinds = _places(keys), list(dict.fromkeys(kind for run in every for kind in run.by_kind))
    blocks, top = list(dict.fromkeys(block for block, _ in keys)), max(_finite(every))
    x, y = categories("", blocks), doubling("batch-size bound B_S (examples)", [*_finite(every), 1.25 * top])
    drawn = tuple(
        Panel(x, y, tuple(_layers(runs, places, kinds, len(blocks), top)), _title(title, runs))
        for title, runs in panels.items()
    )
    caption = CAPTION.format(marks=MANY if max(map(len, panels.values())) > 1 else "")
    title = "Gradient diversity by block and kind of layer"
    return Chart(title, caption, drawn, _table(panels, keys), legend="kind of layer")


def _places(keys: Sequence[Key]) -> dict[Key, float]:
    """(block, kind) -> x: the kinds of a block side by side, around its middle."""
    blocks: dict[str, list[Key]] = {}
    for key in keys:
        blocks.setdefault(key[0], []).append(key)
    return {
        key: place + STEP * (index - (len(present) - 1) / 2)
        for place, present in enumerate(blocks.values())
        for index, key in enumerate(present)
    }


def _finite(runs: Iterable[MeasuredBlocks]) -> list[float]:
    """The finite bounds of all parts and totals; [1] for none."""
    bounds = [part.batch_size_bound for run in runs for part in (*run.by_block_and_kind.values(), run.total)]
    return [bound for bound in bounds if 0 < bound < math.inf] or [1.0]


def _layers(
    runs: Sequence[MeasuredBlocks], places: Mapping[Key, float], kinds: Sequence[str], num_blocks: int, top: float
) -> Iterable[Layer]:
    yield from _total([run.total.batch_size_bound for run in runs], num_blocks, top)
    for index, kind in enumerate(kinds):
        bounds = {x: _known(runs, key) for key, x in places.items() if key[1] == kind}
        yield from _kind(kind, Hue(index, len(kinds)), {x: some for x, some in bounds.items() if some}, top)


def _known(runs: Sequence[MeasuredBlocks], key: Key) -> list[float]:
    found = [run.by_block_and_kind[key].batch_size_bound for run in runs if key in run.by_block_and_kind]
    return [bound for bound in found if not math.isnan(bound)]


def _kind(name: str, hue: Hue, bounds: Mapping[float, Sequence[float]], top: float) -> Iterable[Layer]:
    """The runs as dots, where there are several; their medians, joined where they are finite."""
    dots = [(x, y) for x, some in bounds.items() if len(some) > 1 for y in some if math.isfinite(y)]
    middles = {x: median(some) for x, some in bounds.items()}
    joined = [(x, y) for x, y in middles.items() if math.isfinite(y)]
    if len(joined) > 1:
        yield Line("", hue, *_columns(joined), width=1.0, opacity=45, group=name)
    if dots:
        yield Points("", hue, *_columns(dots), group=name, small=True)
    yield Points(
        name,
        hue,
        x=tuple(middles),
        y=tuple(min(y, 1.25 * top) for y in middles.values()),
        marks=tuple("filled" if math.isfinite(y) else "above" for y in middles.values()),
        hover=tuple(f"{name}<br>B_S = {number(y)}, n = {len(bounds[x])} runs" for x, y in middles.items()),
    )


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(x for x, _ in pairs), tuple(y for _, y in pairs)


def _total(totals: Sequence[float], num_blocks: int, top: float) -> Iterable[Layer]:
    known = [min(total, 1.25 * top) for total in totals if not math.isnan(total)]
    if not known:
        return
    ends = (-0.5, max(num_blocks, 1) - 0.5)
    if len(known) > 1:
        yield Band("muted", ends, (min(known),) * 2, (max(known),) * 2, opacity=12)
    yield Line("all parameters", "ink", ends, (median(known),) * 2, "dashed", 1.2)


def _title(title: str, runs: Sequence[MeasuredBlocks]) -> str:
    """The panel's title, and the bound of all parameters."""
    known = [total for run in runs if not math.isnan(total := run.total.batch_size_bound)]
    return "\n".join(filter(None, (title, f"B_S of all parameters {_spread(known)}" if known else "")))


def _spread(bounds: Sequence[float]) -> str:
    """The median of the runs, from least to most where there are several."""
    if len(bounds) < 2:
        return "".join(map(number, bounds)) or "-"
    return f"{number(median(bounds))} [{number(min(bounds))}, {number(max(bounds))}]"


def _table(panels: Mapping[str, Sequence[MeasuredBlocks]], keys: Sequence[Key]) -> Table:
    lines = tuple((*key, *(_spread(_known(runs, key)) for runs in panels.values())) for key in keys)
    return Table(("block", "kind", *panels), lines, "B_S (examples): median of the runs [least, most].")
