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
    Chart,
    Heat,
    Hue,
    Panel,
)
from batchscope.report.drawing import palette
from batchscope.report.drawing.traces import trace_of, traces_of

TEXT_SIZE = 13
HEIGHT, ROW_HEIGHT = 480, 44
GAP = 0.06  # between panels side by side, of the width


def draw(chart: Chart) -> dict[str, Any]:
    """Return {"data", "layout"}; with a slider also "values", "start" and "frames".

    frames[k]: what to put into the traces (plotly's restyle) at values[k].
    """
    panels = [chart.panels[chart.start]] if chart.slider else list(chart.panels)
    data = [trace for k, panel in enumerate(panels) for trace in traces_of(panel, k)]
    figure = {"data": _each_name_once(data), "layout": _layout(chart, panels)}
    return figure | (_frames(chart) if chart.slider else {})


def colours(chart_counts: Iterable[int], theme: palette.Theme) -> dict[str, Any]:
    """What the tokens mean in a theme, for ramps of these numbers of things; ink and ground are the page's own."""
    ramps = {f"ramp{count}": palette.ramp(count, theme.ramp) for count in sorted(set(chart_counts))}
    return {**theme._asdict(), **ramps}


def counts(chart: Chart) -> set[int]:
    """The lengths of the ramps that a chart takes its colours from."""
    hues = [layer.colour for panel in chart.panels for layer in panel.layers if not isinstance(layer, Heat)]
    return {hue.total for hue in hues if isinstance(hue, Hue)}


def _each_name_once(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The traces, each name in the legend only where it comes first."""
    seen: set[str] = set()
    for trace in data:
        name = trace.get("name", "")
        if trace.get("showlegend"):
            trace["showlegend"] = name not in seen
            seen.add(name)
    return data


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
        "frames": [_frame([trace_of(layer) for layer in panel.layers]) for panel in chart.panels],
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
