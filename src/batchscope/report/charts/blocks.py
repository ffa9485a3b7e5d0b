"""Batch-size bound B_S of every block of a network and kind of layer in it, from the inputs to the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol

from batchscope.analysis.formatting import number
from batchscope.errors import InputError, StoreError
from batchscope.gradients.parts import KINDS, Part
from batchscope.report.drawing import palette
from batchscope.report.drawing import static as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from batchscope.gradients.estimands import Moments

NOTE = (
    "B_S = n · sum ‖g_i‖² / ‖sum g_i‖² over the n examples, from the gradients g_i of the parameters of one block and\n"
    "kind (Yin et al. 2018). {marks}Dashed: all parameters together."
)
ONE, MANY = "", "Dots: runs; marks and line: their median, shaded from least to most. "
LEFT, GAP, RIGHT, TOP = 0.85, 0.3, 1.75, 1.15  # inches beside and above the panels
STEP = 0.24  # between the kinds of a block, in widths of a block


class Measured(Protocol):
    """What is drawn of a `batchscope.measure` report."""

    @property
    def by_block_and_kind(self) -> Mapping[tuple[str, str], Part]: ...

    @property
    def total(self) -> Moments: ...


def block_diversity(panels: Mapping[str, Sequence[Measured]], subtitle: str) -> Figure:
    """Draw B_S (examples, log2) per block and kind, one panel for each title, side by side.

    panels: title -> reports of networks of one shape (seeds, or a single one). subtitle: which network, data and n.
    Where Q = 0 < S1 the bound is infinite: an open mark with an arrow at the top. NaN is not drawn.
    """
    keys = list(dict.fromkeys(key for runs in panels.values() for run in runs for key in run.by_block_and_kind))
    blocks = list(dict.fromkeys(block for block, _ in keys))
    kinds = [kind for kind in KINDS if any(kind == other for _, other in keys)]
    figure, axes = _canvas(blocks, list(panels), subtitle, MANY if max(map(len, panels.values())) > 1 else ONE)
    limits = _limits(run for runs in panels.values() for run in runs)
    for part, runs in zip(axes, panels.values(), strict=True):
        _panel(part, runs, blocks, kinds, limits)
    axes[0].set_ylabel("batch-size bound B_S (examples)")
    axes[-1].legend(title="kind of layer", loc="upper left", bbox_to_anchor=(1.02, 1.0), alignment="left")
    return figure


def write_block_diversity(path: str | Path, panels: Mapping[str, Sequence[Measured]], subtitle: str) -> Path:
    """Write the figure as FILE.png or FILE.svg; equal reports give equal bytes. Return the path.

    Raises InputError for another suffix (see `check_path`), StoreError when the file cannot be written.
    """
    path = check_path(path)
    metadata = {".png": {"Software": "batchscope"}, ".svg": {"Date": None, "Creator": "batchscope"}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with style.look():
            block_diversity(panels, subtitle).savefig(path, metadata=metadata[path.suffix])
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}; choose another place") from None
    return path


def check_path(path: str | Path) -> Path:
    """Return the path; InputError unless it ends in .png or .svg."""
    if Path(path).suffix not in {".png", ".svg"}:
        raise InputError(f"figure {path}: expected a name that ends in .png or .svg")
    return Path(path)


def _canvas(blocks: Sequence[str], titles: Sequence[str], subtitle: str, marks: str) -> tuple[Figure, list[Axes]]:
    """The figure's empty panels."""
    panel = max(2.6, 0.36 * len(blocks), 5.0 / len(titles))
    bottom = 0.75 + (0.075 * max(map(len, blocks)) if _turned(blocks) else 0.3)
    width, height = LEFT + len(titles) * (panel + GAP) + RIGHT - GAP, TOP + 3.2 + bottom
    note = NOTE.format(marks=marks)
    figure, first = style.canvas("Gradient diversity by block and kind of layer", subtitle, note, (width, height))
    axes = [first, *(figure.add_axes((0, 0, 1, 1), axisbelow=True, sharey=first) for _ in titles[1:])]
    for index, (part, title) in enumerate(zip(axes, titles, strict=True)):
        corner = (LEFT + index * (panel + GAP)) / width
        part.set_position((corner, bottom / height, panel / width, 3.2 / height))
        part.set_title(title, loc="left", fontsize=10)
        part.tick_params(labelleft=index == 0)
    return figure, axes


def _panel(
    axes: Axes, runs: Sequence[Measured], blocks: list[str], kinds: list[str], limits: tuple[float, float]
) -> None:
    for place in range(1, len(blocks)):
        axes.axvline(place - 0.5, color=style.GRID, linewidth=0.8)
    colours, places = palette.ramp(len(kinds)), _places(runs, blocks, kinds)
    for index, kind in enumerate(kinds):
        values = {x: _bounds(runs, key) for key, x in places.items() if key[1] == kind}
        _draw_kind(axes, values, colours[index], style.MARKERS[index], kind, limits[1])
    _draw_total(axes, [run.total.batch_size_bound for run in runs], limits[1])
    axes.set_xlim(-0.5, len(blocks) - 0.5)
    turned = _turned(blocks)
    axes.set_xticks(range(len(blocks)), blocks, rotation=60 if turned else 0, ha="right" if turned else "center")
    for label in axes.get_xticklabels():
        label.set_rotation_mode("anchor" if turned else "default")
    axes.tick_params(axis="x", length=0, labelsize=8.5)
    style.log2_axis(axes.yaxis, style.powers_of_two(*limits))
    axes.set_ylim(limits[0] / 1.4, limits[1] * 1.6)
    axes.grid(True, axis="y")


def _draw_kind(
    axes: Axes, values: Mapping[float, list[float]], colour: str, marker: str, label: str, top: float
) -> None:
    middles = {x: median(bounds) for x, bounds in values.items() if bounds}
    finite = {x: y for x, y in middles.items() if math.isfinite(y)}
    axes.plot(list(finite), list(finite.values()), color=colour, linewidth=1.0, alpha=0.45)
    for x, bounds in values.items():
        if len(bounds) > 1:
            dots = [bound for bound in bounds if math.isfinite(bound)]
            axes.plot([x] * len(dots), dots, ".", color=colour, markersize=4, alpha=0.55)
    for x, y in middles.items():
        face = colour if x in finite else "white"
        axes.plot([x], [y if x in finite else top], marker, color=colour, markerfacecolor=face, markersize=6)
        if x not in finite:
            style.arrow(axes, x, top, 1.45, colour)
    axes.plot([], [], marker, color=colour, markersize=6, label=label)


def _draw_total(axes: Axes, totals: list[float], top: float) -> None:
    """The line of all parameters, and its number in the title."""
    known = [total for total in totals if not math.isnan(total)]
    if not known:
        return
    middle = median(known)
    text = f"B_S of all parameters {number(middle)}"
    if len(known) > 1:
        text += f" [{number(min(known))}, {number(max(known))}]"
        axes.axhspan(min(min(known), top), min(max(known), top), color=style.MUTED, alpha=0.12, linewidth=0)
    axes.axhline(min(middle, top), color=style.INK, linewidth=1.2, linestyle=(0, (5, 3)), label="all parameters")
    axes.set_title("\n".join(filter(None, (axes.get_title(loc="left"), text))), loc="left", fontsize=9)


def _places(runs: Sequence[Measured], blocks: list[str], kinds: list[str]) -> dict[tuple[str, str], float]:
    """(block, kind) -> x: the kinds of a block side by side, around its middle."""
    found = {key for run in runs for key in run.by_block_and_kind}
    return {
        (block, kind): place + STEP * (index - (len(present) - 1) / 2)
        for place, block in enumerate(blocks)
        for present in [[kind for kind in kinds if (block, kind) in found]]
        for index, kind in enumerate(present)
    }


def _bounds(runs: Sequence[Measured], key: tuple[str, str]) -> list[float]:
    found = [run.by_block_and_kind[key].batch_size_bound for run in runs if key in run.by_block_and_kind]
    return [bound for bound in found if not math.isnan(bound)]


def _limits(runs: Iterable[Measured]) -> tuple[float, float]:
    """The least and the greatest finite bound."""
    parts = [part for run in runs for part in (*run.by_block_and_kind.values(), run.total)]
    bounds = [part.batch_size_bound for part in parts]
    finite = [bound for bound in bounds if math.isfinite(bound) and bound > 0]
    return (min(finite), max(finite)) if finite else (1.0, 2.0)


def _turned(blocks: Sequence[str]) -> bool:
    return len(blocks) > 6 or max(map(len, blocks)) > 8
