"""A chart as data: what is drawn, on which axes, in which words. `drawing.static` and `drawing.interactive` draw it.

A chart has one or more panels; a panel has two axes and layers, the first at the back. All numbers are in the units of
the axes and finite; what has no number is left out. Colours are places on a ramp (`Hue`), or "ink" and "muted".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Numbers: TypeAlias = tuple[float, ...]
Ends: TypeAlias = tuple[float | None, ...]  # of bars; None: no bar
Mark: TypeAlias = Literal["filled", "ringed", "above", "below", "lost"]


class Hue(NamedTuple):
    """The colour, and the symbol, of one of `total` things in an order, such as shapes from wide to deep."""

    rank: int
    total: int


Colour: TypeAlias = Hue | Literal["ink", "muted"]


@dataclass(frozen=True)
class Axis:
    """title: the quantity with its unit. ticks, labels: where which text stands. limits: a reversed axis has them so.

    scale "names": labels are names, at 0, 1, 2, ...
    """

    title: str
    ticks: Numbers
    labels: tuple[str, ...]
    limits: tuple[float, float]
    scale: Literal["linear", "log", "names"] = "linear"

    def __post_init__(self) -> None:
        _same_length(self, "ticks", "labels")


@dataclass(frozen=True)
class Points:
    """Measured values with the bars of their intervals.

    name: in the legend, "" for none; layers of one group are switched together. low, high: ends of the bars along y;
    left, right: along x. marks: filled by default; "above", "below": open triangles for values beyond, "lost": ×.
    hover: what each point says when it is touched.
    """

    name: str
    colour: Hue
    x: Numbers
    y: Numbers
    low: Ends = ()
    high: Ends = ()
    left: Ends = ()
    right: Ends = ()
    marks: tuple[Mark, ...] = ()
    hover: tuple[str, ...] = ()
    group: str = ""
    small: bool = False

    def __post_init__(self) -> None:
        _same_length(self, "x", "y", "low", "high", "left", "right", "marks", "hover")


@dataclass(frozen=True)
class Line:
    """A line: a fitted curve, a rule, or what joins points. opacity in per cent, width in points."""

    name: str
    colour: Colour
    x: Numbers
    y: Numbers
    style: Literal["solid", "dashed", "dotted"] = "solid"
    width: float = 1.3
    opacity: int = 100
    group: str = ""

    def __post_init__(self) -> None:
        _same_length(self, "x", "y")


@dataclass(frozen=True)
class Band:
    """The region between two curves. opacity in per cent."""

    colour: Colour
    x: Numbers
    low: Numbers
    high: Numbers
    opacity: int = 16
    group: str = ""

    def __post_init__(self) -> None:
        _same_length(self, "x", "low", "high")


@dataclass(frozen=True)
class HeatCell:
    """One cell of a heat map at whole-numbered places. shade: from 0 to 1 along the ramp; None: hatched."""

    column: int
    row: int
    text: str
    shade: float | None
    hover: str = ""


@dataclass(frozen=True)
class Heat:
    """A heat map; what has no cell stays empty."""

    cells: tuple[HeatCell, ...]


Layer: TypeAlias = Points | Line | Band | Heat


@dataclass(frozen=True)
class Panel:
    """What two axes hold."""

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    title: str = ""


@dataclass(frozen=True)
class Table:
    """heads: column names, with units. lines: one text per cell. caption: what the numbers are, n and interval."""

    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """title: what is drawn. caption: its definition, n and interval. table: the same numbers. legend: its title.

    slider: the label of a choice among the panels, whose titles are the values; "" where all are shown. A page shows
    one panel at a time, the middle one first; a static figure three of them.
    """

    title: str
    caption: str
    panels: tuple[Panel, ...]
    table: Table | None = None
    legend: str = ""
    slider: str = ""

    @property
    def start(self) -> int:
        """The panel that a slider shows first."""
        return len(self.panels) // 2

    @property
    def still(self) -> tuple[Panel, ...]:
        """The panels of a static figure: all, or, with a slider, those at a quarter, half and three quarters of it."""
        if not self.slider:
            return self.panels
        places = sorted({round(k * (len(self.panels) - 1) / 4) for k in (1, 2, 3)})
        return tuple(self.panels[place] for place in places)


def _same_length(layer: object, *names: str) -> None:
    """Refuse fields that are neither empty nor as long as the first."""
    lengths = [len(getattr(layer, name)) for name in names]
    if any(length not in (0, lengths[0]) for length in lengths[1:]) or (lengths[0] and not lengths[1]):
        raise ValueError(f"{type(layer).__name__}: {dict(zip(names, lengths, strict=True))} differ in length")
