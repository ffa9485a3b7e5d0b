"""The layers of a chart as plotly's traces, and the names of their colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from batchscope.report.charts.chart import (
    Band,
    Colour,
    Heat,
    HeatCell,
    Hue,
    Layer,
    Line,
    Panel,
    Points,
)
from batchscope.report.drawing import palette

DIGITS = 4  # of numbers that are not whole: what a chart can show, at a third of the size
DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
TRIANGLES = {"above": "triangle-up-open", "below": "triangle-down-open", "lost": "x-thin-open"}


def token(colour: Colour, opacity: int = 100) -> str:
    """The name under which the page's script finds a colour; `opacity` in per cent."""
    name = f"@ramp{colour.total}.{colour.rank}" if isinstance(colour, Hue) else f"@{colour}"
    return name if opacity == 100 else f"{name}/{opacity}"


def traces_of(panel: Panel, place: int) -> list[dict[str, Any]]:
    """The traces of one panel; `place`: its number from the left."""
    heat = next((layer for layer in panel.layers if isinstance(layer, Heat)), None)
    if heat is not None:
        return [_shaded(heat, panel), _hatched([cell for cell in heat.cells if cell.shade is None])]
    axes = {} if place == 0 else {"xaxis": f"x{place + 1}", "yaxis": f"y{place + 1}"}
    return [trace_of(layer) | axes for layer in panel.layers]


def trace_of(layer: Layer) -> dict[str, Any]:
    """One layer as a trace."""
    if isinstance(layer, Points):
        return _points(layer)
    if isinstance(layer, Line):
        return _line(layer)
    assert isinstance(layer, Band), layer
    return _band(layer)


def _points(points: Points) -> dict[str, Any]:
    """Markers with bars. The legend shows the first symbol: a filled one, if there is any."""
    marks = points.marks or ("filled",) * len(points.x)
    order = sorted(range(len(marks)), key=lambda k: marks[k] in TRIANGLES)
    symbol = palette.SYMBOLS[points.colour.rank % len(palette.SYMBOLS)][1]
    size = 4 if points.small else 9
    trace = {
        "type": "scatter",
        "mode": "markers",
        **_named(points.name, points.group or points.name),
        "x": _brief(points.x[k] for k in order),
        "y": _brief(points.y[k] for k in order),
        "marker": {
            "color": token(points.colour, 55 if points.small else 100),
            "opacity": 1,  # plotly fades markers whose sizes are a list
            "symbol": [TRIANGLES.get(marks[k], symbol) for k in order],
            "size": [size + 2 if marks[k] != "filled" else size for k in order],
            "line": {"color": _rims(points, [marks[k] for k in order]), "width": [_rim(marks[k]) for k in order]},
        },
    }
    if points.hover:
        trace |= {"text": [points.hover[k] for k in order], "hovertemplate": "%{text}<extra></extra>"}
    else:
        trace["hoverinfo"] = "skip"
    for name, at, low, high in (
        ("error_y", points.y, points.low, points.high),
        ("error_x", points.x, points.left, points.right),
    ):
        if low:
            trace[name] = _bars(points.colour, [(at[k], low[k], high[k]) for k in order])
    return trace


def _rims(points: Points, marks: Sequence[str]) -> list[str]:
    return ["@ink" if mark == "ringed" else token(points.colour) for mark in marks]


def _rim(mark: str) -> float:
    return {"filled": 0, "ringed": 3}.get(mark, 2)


def _bars(colour: Colour, ends: Sequence[tuple[float, float | None, float | None]]) -> dict[str, Any]:
    """Bars as plotly takes them: their lengths from the point up and down; None for a point without."""
    return {
        "type": "data",
        "symmetric": False,
        "array": _brief(None if high is None else max(high - at, 0) for at, _, high in ends),
        "arrayminus": _brief(None if low is None else max(at - low, 0) for at, low, _ in ends),
        "color": token(colour),
        "thickness": 1.4,
        "width": 4,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        **_named(line.name, line.group or line.name),
        "legendrank": 1001,  # after the points
        "x": _brief(line.x),
        "y": _brief(line.y),
        "line": {"color": token(line.colour, line.opacity), "width": line.width, "dash": DASHES[line.style]},
        "hoverinfo": "skip",
    }


def _band(band: Band) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        **_named("", band.group),
        "x": _brief([*band.x, *reversed(band.x)]),
        "y": _brief([*band.high, *reversed(band.low)]),
        "fill": "toself",
        "fillcolor": token(band.colour, band.opacity),
        "line": {"width": 0, "color": token(band.colour)},
        "hoverinfo": "skip",
    }


def _named(name: str, group: str) -> dict[str, Any]:
    """The place in the legend."""
    return {"name": name, "legendgroup": group, "showlegend": bool(name)}


def _shaded(heat: Heat, panel: Panel) -> dict[str, Any]:
    """The cells with a number, as a matrix; the others stay empty."""
    shape = len(panel.y.ticks), len(panel.x.ticks)
    z, text = ([[empty] * shape[1] for _ in range(shape[0])] for empty in (None, ""))
    for cell in heat.cells:
        if cell.shade is not None:
            z[cell.row][cell.column], text[cell.row][cell.column] = round(cell.shade, 4), cell.text  # type: ignore[call-overload]
    return {
        "type": "heatmap",
        "z": z,
        "zmin": 0,
        "zmax": 1,
        "text": text,
        "texttemplate": "%{text}",
        "hoverinfo": "skip",
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "colorscale": [[k / 4, f"@heat.{k}"] for k in range(5)],
    }


def _hatched(cells: Sequence[HeatCell]) -> dict[str, Any]:
    """The cells without a number, as bars with a pattern."""
    return {
        "type": "bar",
        "showlegend": False,
        "x": [cell.column for cell in cells],
        "y": [0.94] * len(cells),
        "base": [cell.row - 0.47 for cell in cells],
        "width": 0.95,
        "hovertemplate": "%{customdata}<extra></extra>",
        "customdata": [cell.hover for cell in cells],
        "marker": {
            "color": "@paper",
            "line": {"width": 0},
            "pattern": {"shape": "/", "fgcolor": "@muted", "size": 7, "solidity": 0.15},
        },
    }


def _brief(values: Iterable[float | None]) -> list[Any]:
    """Whole numbers as they are, others with four digits."""
    return [
        None if value is None else int(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")
        for value in values
    ]
