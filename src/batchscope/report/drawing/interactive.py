"""A chart in plotly's terms, as plain dictionaries: plotly's Python objects are not needed to draw.

Colours are tokens, so that one figure serves light, dark and print: "@ink", "@muted", "@grid", "@paper", "@heat.2" (the
third anchor), "@ramp5.2" (the third of five shapes), "@ramp5.2/20" (at 20 % opacity). The page's script puts them in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from batchscope.report.charts.chart import (
    Axis,
    Band,
    Chart,
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

TEXT_SIZE = 13
DIGITS = 4  # of numbers that are not whole: what a chart can show, at a third of the size
HEIGHT, ROW_HEIGHT = 480, 44
DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
TRIANGLES = {"above": "triangle-up-open", "below": "triangle-down-open", "lost": "x-thin-open"}
GAP = 0.06  # between panels side by side, of the width


def draw(chart: Chart) -> dict[str, Any]:
    """Return {"data", "layout"}; with a slider also "values", "start" and "frames".

    frames[k]: what to put into the traces (plotly's restyle) at values[k].
    """
    panels = [chart.panels[chart.start]] if chart.slider else list(chart.panels)
    data = [trace for k, panel in enumerate(panels) for trace in _traces(panel, k)]
    figure = {"data": _each_name_once(data), "layout": _layout(chart, panels)}
    return figure | (_frames(chart) if chart.slider else {})


def token(colour: Colour, opacity: int = 100) -> str:
    """The name under which the page's script finds a colour; `opacity` in per cent."""
    name = f"@ramp{colour.total}.{colour.rank}" if isinstance(colour, Hue) else f"@{colour}"
    return name if opacity == 100 else f"{name}/{opacity}"


def colours(chart_counts: Iterable[int], theme: palette.Theme) -> dict[str, Any]:
    """What the tokens mean in a theme, for ramps of these numbers of things; ink and ground are the page's own."""
    ramps = {f"ramp{count}": palette.ramp(count, theme.ramp) for count in sorted(set(chart_counts))}
    return {**theme._asdict(), **ramps}


def counts(chart: Chart) -> set[int]:
    """The lengths of the ramps that a chart takes its colours from."""
    hues = [layer.colour for panel in chart.panels for layer in panel.layers if not isinstance(layer, Heat)]
    return {hue.total for hue in hues if isinstance(hue, Hue)}


def _traces(panel: Panel, place: int) -> list[dict[str, Any]]:
    """The traces of one panel; `place`: its number from the left."""
    heat = next((layer for layer in panel.layers if isinstance(layer, Heat)), None)
    if heat is not None:
        return [_shaded(heat, panel), _hatched([cell for cell in heat.cells if cell.shade is None])]
    axes = {} if place == 0 else {"xaxis": f"x{place + 1}", "yaxis": f"y{place + 1}"}
    return [_trace(layer) | axes for layer in panel.layers]


def _trace(layer: Layer) -> dict[str, Any]:
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


def _each_name_once(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The traces, each name in the legend only where it comes first."""
    seen: set[str] = set()
    for trace in data:
        name = trace.get("name", "")
        if trace.get("showlegend"):
            trace["showlegend"] = name not in seen
            seen.add(name)
    return data


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


def _layout(chart: Chart, panels: Sequence[Panel]) -> dict[str, Any]:
    """The look of the page: legend below, no zooming by touch."""
    rows = max((len(panel.y.ticks) for panel in panels if _is_heat(panel)), default=0)
    layout: dict[str, Any] = {
        "height": 130 + ROW_HEIGHT * max(rows, 2) if rows else HEIGHT,
        "margin": {"l": 8, "r": 8, "t": 8 if len(panels) == 1 else 40, "b": 8, "pad": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "size": TEXT_SIZE, "family": "system-ui, sans-serif"},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"bgcolor": "@paper", "font": {"color": "@ink"}, "namelength": -1},
        "dragmode": False,
        "hovermode": "closest",
        "barmode": "overlay",
        "bargap": 0,
        "annotations": [note for panel in panels for note in _notes(panel)],
    }
    if chart.legend:
        layout["legend"]["title"] = {"text": chart.legend, "side": "top"}
    width = (1 + GAP) / len(panels)
    for place, panel in enumerate(panels):
        number = "" if place == 0 else f"{place + 1}"
        layout[f"xaxis{number}"] = _axis(panel.x, panel) | {"anchor": f"y{number}"}
        layout[f"yaxis{number}"] = _axis(panel.y, panel) | {"anchor": f"x{number}"}
        if len(panels) > 1:
            layout[f"xaxis{number}"]["domain"] = [round(place * width, 4), round((place + 1) * width - GAP, 4)]
            layout["annotations"].append(_heading(panel, number))
    return layout


def _axis(axis: Axis, panel: Panel) -> dict[str, Any]:
    limits = [round(math.log10(end), 5) for end in axis.limits] if axis.scale == "log" else list(axis.limits)
    plain = {"showgrid": False, "ticks": ""} if _is_heat(panel) else {}
    return {
        "title": {"text": axis.title, "standoff": 8},
        "type": "log" if axis.scale == "log" else "linear",
        "tickvals": list(axis.ticks),
        "ticktext": list(axis.labels),
        "range": limits,
        "gridcolor": "@grid",
        "linecolor": "@muted",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    } | plain


def _notes(panel: Panel) -> list[dict[str, Any]]:
    """The texts of hatched cells, on plain ground."""
    cells = [cell for layer in panel.layers if isinstance(layer, Heat) for cell in layer.cells if cell.shade is None]
    look = {"showarrow": False, "bgcolor": "@paper", "borderpad": 2}
    return [{"x": cell.column, "y": cell.row, "text": cell.text} | look for cell in cells]


def _heading(panel: Panel, number: str) -> dict[str, Any]:
    """The title of one of several panels."""
    place = {"xref": f"x{number} domain", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return {"text": panel.title.replace("\n", "<br>"), "showarrow": False, "align": "left"} | place


def _is_heat(panel: Panel) -> bool:
    return any(isinstance(layer, Heat) for layer in panel.layers)


def _frames(chart: Chart) -> dict[str, Any]:
    return {
        "values": [panel.title for panel in chart.panels],
        "start": chart.start,
        "frames": [_frame([_trace(layer) for layer in panel.layers]) for panel in chart.panels],
    }


def _frame(traces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What changes from panel to panel, one entry per trace."""
    changing = (
        "x",
        "y",
        "text",
        "marker.symbol",
        "marker.size",
        "marker.line.width",
        "error_y.array",
        "error_y.arrayminus",
    )
    return {path: [_at(trace, path) for trace in traces] for path in changing}


def _at(trace: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        trace = trace.get(name, {})
    return trace or []


def _brief(values: Iterable[float | None]) -> list[Any]:
    """Whole numbers as they are, others with four digits."""
    return [
        None if value is None else int(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")
        for value in values
    ]
