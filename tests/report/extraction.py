"""The numbers that are in a drawing, read back from plotly's dictionaries and from matplotlib's artists."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

OPEN = {"^": "above", "v": "below", "x": "lost"}
OPEN_INTERACTIVE = {"triangle-up-open": "above", "triangle-down-open": "below", "x-thin-open": "lost"}


def of_axes(axes: Axes) -> dict[str, Any]:
    """Points with their kind, ends of bars, lines, bands, cells of heat maps, and the axes."""
    found: dict[str, Any] = {
        "points": [point for line in axes.lines if line.get_linestyle() == "None" for point in _points(line)],
        "lines": [_pairs(*line.get_data()) for line in axes.lines if line.get_linestyle() != "None"],
        "bars": [bar for part in axes.collections if isinstance(part, LineCollection) for bar in _bars(part)],
        "bands": [_outline(part) for part in axes.collections if isinstance(part, PolyCollection)],
        "cells": _cells(axes),
    }
    for name, scale, limits in (("x", axes.get_xscale(), axes.get_xlim()), ("y", axes.get_yscale(), axes.get_ylim())):
        axis = getattr(axes, f"{name}axis")
        ticks = [(float(at), axis.get_major_formatter()(at)) for at in axis.get_majorticklocs()]
        found[name] = (scale, [float(end) for end in limits], ticks)
    return found


def _points(line: Any) -> list[tuple[float, float, str]]:
    return [(float(x), float(y), OPEN.get(line.get_marker(), "filled")) for x, y in zip(*line.get_data(), strict=True)]


def _pairs(x: Any, y: Any) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _bars(part: LineCollection) -> list[tuple[float, ...]]:
    return [tuple(sorted(map(tuple, segment.tolist()))) for segment in part.get_segments()]  # type: ignore[misc]


def _outline(part: PolyCollection) -> list[tuple[float, float]]:
    vertices = part.get_paths()[0].vertices
    return sorted({(float(x), float(y)) for x, y in np.asarray(vertices)})


def _cells(axes: Axes) -> list[tuple[float, float, str, bool]]:
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    hatched = {(box.get_x() + 0.47, box.get_y() + 0.47): bool(box.get_hatch()) for box in boxes}
    texts = [(*text.get_position(), text.get_text()) for text in axes.texts]
    by_place = {(round(x), round(y)): value for (x, y), value in hatched.items()}
    return sorted((float(x), float(y), text, by_place[round(x), round(y)]) for x, y, text in texts)


def of_figure(figure: Figure) -> list[dict[str, Any]]:
    return [of_axes(axes) for axes in figure.axes]


def names_of_figure(figure: Figure) -> set[str]:
    legend = figure.axes[-1].get_legend()
    return {text.get_text() for text in legend.get_texts()} if legend else set()


def of_plotly(drawn: dict[str, Any], place: int = 0) -> dict[str, Any]:
    """The same of one panel, the `place`-th from the left, of a dictionary for plotly."""
    number = "" if place == 0 else f"{place + 1}"
    traces = [trace for trace in drawn["data"] if trace.get("xaxis", "x") == f"x{number}"]
    scatter = [trace for trace in traces if trace["type"] == "scatter"]
    found: dict[str, Any] = {
        "points": [point for trace in scatter if trace["mode"] == "markers" for point in _plotly_points(trace)],
        "lines": [_pairs(t["x"], t["y"]) for t in scatter if t["mode"] == "lines" and "fill" not in t],
        "bars": [bar for trace in scatter if trace["mode"] == "markers" for bar in _plotly_bars(trace)],
        "bands": [sorted(set(_pairs(t["x"], t["y"]))) for t in scatter if "fill" in t],
        "cells": _plotly_cells(traces, drawn["layout"]["annotations"]),
    }
    for name in "xy":
        axis = drawn["layout"][f"{name}axis{number}"]
        limits = [10**end for end in axis["range"]] if axis["type"] == "log" else list(map(float, axis["range"]))
        ticks = list(zip(map(float, axis["tickvals"]), axis["ticktext"], strict=True))
        found[name] = (axis["type"], limits, ticks)
    return found


def of_frame(drawn: dict[str, Any], k: int) -> dict[str, Any]:
    """The same as the slider's k-th position shows it: the frame put into the traces, as plotly's restyle does."""
    traces = [dict(trace) for trace in drawn["data"]]
    for path, values in drawn["frames"][k].items():
        for trace, value in zip(traces, values, strict=True):
            _put(trace, path.split("."), value)
    return of_plotly({**drawn, "data": traces})


def _put(trace: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        trace[name] = dict(trace.get(name, {}))
        trace = trace[name]
    trace[path[-1]] = value


def names_of_plotly(drawn: dict[str, Any]) -> set[str]:
    return {trace["name"] for trace in drawn["data"] if trace.get("showlegend")}


def _plotly_points(trace: dict[str, Any]) -> list[tuple[float, float, str]]:
    symbols = (OPEN_INTERACTIVE.get(symbol, "filled") for symbol in trace["marker"]["symbol"])
    return [(float(x), float(y), symbol) for x, y, symbol in zip(trace["x"], trace["y"], symbols, strict=True)]


def _plotly_bars(trace: dict[str, Any]) -> list[tuple[tuple[float, float], ...]]:
    bars = []
    for name in ("error_x", "error_y"):
        lengths = trace.get(name, {"array": [], "arrayminus": []})
        for x, y, up, down in zip(trace["x"], trace["y"], lengths["array"], lengths["arrayminus"], strict=False):
            if up is not None and down is not None:
                ends = ((x - down, y), (x + up, y)) if name == "error_x" else ((x, y - down), (x, y + up))
                bars.append(ends)
    return bars


def _plotly_cells(traces: list[dict[str, Any]], notes: list[dict[str, Any]]) -> list[tuple[float, float, str, bool]]:
    shaded = [
        (float(column), float(row), trace["text"][row][column], False)
        for trace in traces
        if trace["type"] == "heatmap"
        for row, line in enumerate(trace["z"])
        for column, value in enumerate(line)
        if value is not None
    ]
    said = {(note["x"], note["y"]): note["text"] for note in notes if note.get("xref") is None}
    hatched = [
        (float(x), float(base + 0.47), said[x, round(base + 0.47)], True)
        for trace in traces
        if trace["type"] == "bar"
        for x, base in zip(trace["x"], trace["base"], strict=True)
    ]
    return sorted(shaded + hatched)


def differences(one: dict[str, Any], other: dict[str, Any], tolerance: float = 2e-3) -> list[str]:
    """What is in one drawing and not in the other; numbers may differ by what four digits round."""
    found = []
    for name in one:
        a, b = _flat(one[name]), _flat(other[name])
        if len(a) != len(b) or not all(map(lambda x, y: _close(x, y, tolerance), a, b)):
            found.append(f"{name}: {one[name]} != {other[name]}")
    return found


def _close(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-9)
    return bool(one == other)


def _flat(value: Any) -> list[Any]:
    """All numbers and words in a nested list; lists are sorted, as artists come in any order."""
    if isinstance(value, list | tuple):
        parts = [_flat(item) for item in value]
        if isinstance(value, list):
            parts.sort(key=lambda part: [(isinstance(item, str), item) for item in part])
        return [item for part in parts for item in part]
    return [float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value]
