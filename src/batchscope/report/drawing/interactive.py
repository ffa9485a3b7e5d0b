"""Traces and axes in plotly's terms, as plain dictionaries: plotly's Python objects are not needed to draw.

Colours are tokens, so that one figure serves light, dark and print: "@ink", "@muted", "@grid", "@paper",
"@heat0" to "@heat4", "@shape2" (the third shape), "@shape2/20" (at 20 % opacity). The page's script puts colours in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from batchscope.analysis.formatting import tick

SYMBOLS = ("circle", "square", "diamond", "cross", "star", "pentagon", "bowtie", "hexagon", "hourglass", "star-square")
TEXT_SIZE = 13


def colour(index: int, opacity: int | None = None) -> str:
    """Return the token of a shape's colour, `opacity` in per cent."""
    return f"@shape{index}" if opacity is None else f"@shape{index}/{opacity}"


def symbol(index: int) -> str:
    return SYMBOLS[index % len(SYMBOLS)]


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": "@grid",
        "linecolor": "@muted",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    } | more


def log_axis(
    title: str, ticks: Sequence[float] = (), low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    """Return a logarithmic axis labelled at `ticks` (at most ten of them), from `low` to `high` when given."""
    chosen = list(ticks)[:: -(-len(ticks) // 10) or 1]
    more: dict[str, Any] = {"type": "log"}
    if chosen:
        more |= {"tickvals": chosen, "ticktext": list(map(_tick, chosen))}
    if low is not None and high is not None:
        more["range"] = [math.log10(low), math.log10(high)]
    return axis(title, **more)


def _tick(value: float) -> str:
    return tick(value, "2<sup>{}</sup>")


def doubling(values: Iterable[float], title: str) -> dict[str, Any]:
    """Return a logarithmic axis labelled at powers of two, wide enough for `values` and nothing else."""
    known = [value for value in values if 0 < value < math.inf]
    if not known:
        return log_axis(title)
    low, high = min(known), max(known)
    ticks = [2.0**k for k in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
    return log_axis(title, ticks, low / 1.35, high * 1.35)


def figure(
    data: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], height: int = 440, **more: Any
) -> dict[str, Any]:
    """Return {"data", "layout"} in the look of the page: legend below, no zooming by touch."""
    layout = {
        "xaxis": x,
        "yaxis": y,
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8, "pad": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "size": TEXT_SIZE, "family": "system-ui, sans-serif"},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"bgcolor": "@paper", "font": {"color": "@ink"}, "namelength": -1},
        "dragmode": False,
        "hovermode": "closest",
    }
    return {"data": data, "layout": layout | more}


def points(
    index: int, name: str, x: Sequence[Any], y: Sequence[Any], text: Sequence[str], **more: Any
) -> dict[str, Any]:
    """Return filled markers joined by a line, in the colour of shape `index`; `text` shows on hover."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "legendgroup": name,
        "x": list(x),
        "y": list(y),
        "text": list(text),
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": colour(index), "width": 2},
        "marker": {"color": colour(index), "symbol": symbol(index), "size": 8},
    } | more


def band(
    index: int, name: str, x: Sequence[float], low: Sequence[float], high: Sequence[float], opacity: int = 16
) -> dict[str, Any]:
    """Return a filled region between two curves, `opacity` in per cent."""
    return {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": name,
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [*x, *reversed(list(x))],
        "y": [*high, *reversed(list(low))],
        "fill": "toself",
        "fillcolor": colour(index, opacity),
        "line": {"width": 0, "color": colour(index)},
    }


def guide(
    name: str, x: Sequence[float], y: Sequence[float], token: str = "@muted", dash: str = "dot", **more: Any
) -> dict[str, Any]:
    """Return a thin line that is no measurement: perfect scaling, a rule, a fitted curve."""
    line = {"color": token, "width": 1.3, "dash": dash}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": line,
        "hoverinfo": "skip",
    } | more
