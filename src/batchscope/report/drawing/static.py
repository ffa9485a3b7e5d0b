"""A chart as a figure of matplotlib, and files that are the same bytes for the same chart."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from batchscope.errors import InputError
from batchscope.report.charts.chart import Axis, Band, Chart, Colour, Heat, HeatCell, Hue, Line, Panel, Points
from batchscope.report.drawing import palette
from batchscope.visible import all_visible, visible
from batchscope.writing import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

THEME = palette.LIGHT
SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": THEME.ink,
    "axes.labelcolor": THEME.ink,
    "axes.edgecolor": THEME.muted,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.color": THEME.muted,
    "ytick.color": THEME.muted,
    "xtick.labelcolor": THEME.ink,
    "ytick.labelcolor": THEME.ink,
    "grid.color": THEME.grid,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.7,
    "svg.hashsalt": "batchscope",
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are names, whatever stands between two dollar signs
}
SUFFIXES: Mapping[str, Mapping[str, str | None]] = {
    ".png": {"Software": "batchscope"},
    ".svg": {"Date": None, "Creator": "batchscope"},
}
ONE_OF: Mapping[str, Mapping[str, str | None]] = {**SUFFIXES, ".pdf": {"CreationDate": None, "Creator": "batchscope"}}
TOP, LINE = 0.78, 0.155  # inches: title and subtitle; a line of the caption
CHARACTERS = 17.2  # of the caption to an inch
DASHES: Mapping[str, Any] = {"solid": "-", "dashed": (0, (5, 3)), "dotted": (0, (1, 2))}
SHAPES: Mapping[str, str] = {"above": "^", "below": "v", "lost": "x"}


@contextmanager
def look() -> Iterator[None]:
    """Apply the style inside the block only; the caller's matplotlib settings are untouched."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s)Glyph \d+ .*missing from", UserWarning)  # it draws a box for it
        yield


def write(chart: Chart, path: str | Path, subtitle: str = "") -> Path:
    """Write the chart as FILE.png, FILE.svg or FILE.pdf; equal charts give equal bytes. Return the path.

    subtitle: which data, target and runs. Raises InputError for another suffix, StoreError for a file that cannot be
    written; a file that was there stays until the new one is whole.
    """
    return _save(check_path(path), chart, subtitle)[0]


def write_both(chart: Chart, path: Path, subtitle: str = "") -> list[Path]:
    """Write the chart as PATH.png and PATH.svg; see `write`."""
    return _save(path, chart, subtitle, *SUFFIXES)


def check_path(path: str | Path) -> Path:
    """Return the path; InputError unless it ends in .png, .svg or .pdf."""
    if Path(path).suffix not in ONE_OF:
        *most, last = ONE_OF
        raise InputError(f"figure {path}: expected a name that ends in {', '.join(most)} or {last}")
    return Path(path)


def _save(path: Path, chart: Chart, subtitle: str, *suffixes: str) -> list[Path]:
    paths = [path.with_name(path.name + suffix) for suffix in suffixes] or [path]
    with look():
        figure = draw(all_visible(chart), visible(subtitle))
        figure.draw_without_rendering()  # lays the parts out, once for all files
        figure.set_layout_engine("none")
        for one in paths:
            with replaced(one) as draft:
                figure.savefig(draft, metadata=dict(ONE_OF[one.suffix]))
    return paths


def draw(chart: Chart, subtitle: str = "") -> Figure:
    """Return the figure: title, subtitle, panels side by side, legend at the right, caption below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = chart.still
    handles = _legend(panels)
    width, height = _size(panels, handles)
    caption = wrap(chart.caption, int((width - 0.4) * CHARACTERS))
    bottom = 0.15 + LINE * len(caption)
    total = TOP + height + bottom
    layout = ConstrainedLayoutEngine(w_pad=0.12, rect=(0, bottom / total, 1, height / total))
    figure = Figure(figsize=(width, total), dpi=150, layout=layout)
    figure.text(0.2 / width, 1 - 0.28 / total, chart.title, fontsize=13, fontweight="bold", va="center")
    figure.text(0.2 / width, 1 - 0.55 / total, subtitle, fontsize=8.5, color=THEME.muted, va="center")
    figure.text(
        0.2 / width, 0.1 / total, "\n".join(caption), fontsize=7.5, color=THEME.muted, va="bottom", linespacing=1.35
    )
    is_shared = len({panel.y for panel in panels}) == 1
    grid = figure.subplots(1, len(panels), sharey=is_shared, squeeze=False)[0]
    for place, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
        _panel(axes, panel, chart, named=place == 0 or not is_shared)
    if handles:
        beside: Any = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "alignment": "left"}
        grid[-1].legend(handles=handles, title=chart.legend, **beside)
    return figure


def _size(panels: tuple[Panel, ...], handles: Sequence[Line2D]) -> tuple[float, float]:
    """Inches of the panels with their legend."""
    legend = 0.7 + 0.075 * max(len(str(one.get_label())) for one in handles) if handles else 0.0
    if any(isinstance(layer, Heat) for panel in panels for layer in panel.layers):
        x, y = panels[0].x, panels[0].y
        return max(8.0, 2.5 + 0.72 * len(x.ticks)), 0.75 + 0.46 * max(len(y.ticks), 2)
    names = max(len(panel.x.ticks) if panel.x.scale == "names" else 0 for panel in panels)
    one = max(2.4, 0.34 * names, 5.7 / len(panels))
    turned = 0.06 * max(map(len, panels[0].x.labels), default=0) if _is_turned(panels[0].x, len(panels)) else 0.0
    return 0.9 + len(panels) * one + legend, 3.9 + turned


def _panel(axes: Axes, panel: Panel, chart: Chart, named: bool) -> None:
    for layer in panel.layers:
        if isinstance(layer, Points):
            _points(axes, layer)
        elif isinstance(layer, Line):
            style: Any = {"linewidth": layer.width, "alpha": layer.opacity / 100, "linestyle": DASHES[layer.style]}
            axes.plot(layer.x, layer.y, color=colour(layer.colour), zorder=2, **style)
        elif isinstance(layer, Band):
            shade: Any = {"alpha": layer.opacity / 100, "linewidth": 0, "zorder": 1}
            axes.fill_between(layer.x, layer.low, layer.high, color=colour(layer.colour), **shade)
        else:
            _heat(axes, layer)
    is_heat = any(isinstance(layer, Heat) for layer in panel.layers)
    _axis(axes, "x", panel.x, turned=not is_heat and _is_turned(panel.x, len(chart.still)))
    _axis(axes, "y", panel.y, named=named)
    axes.grid(not is_heat, axis="y" if panel.x.scale == "names" else "both")
    if is_heat:
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    if len(chart.still) > 1:
        axes.set_title(f"{chart.slider} {panel.title}".strip())


def _points(axes: Axes, points: Points) -> None:
    """Markers, one artist for each kind of mark, over the bars of their intervals."""
    ink = colour(points.colour)
    marks = points.marks or ("filled",) * len(points.x)
    mark: str
    for mark in dict.fromkeys(marks):
        places = [k for k, other in enumerate(marks) if other == mark]
        axes.plot(
            [points.x[k] for k in places],
            [points.y[k] for k in places],
            SHAPES.get(mark, palette.SYMBOLS[points.colour.rank % len(palette.SYMBOLS)][0]),
            color=ink,
            alpha=0.55 if points.small else 1.0,
            markersize=(2.5 if points.small else 6) + (mark != "filled"),
            markerfacecolor="white" if mark in ("above", "below") else ink,
            markeredgecolor=THEME.ink if mark == "ringed" else ink,
            markeredgewidth={"filled": 0.8, "ringed": 2.0}.get(mark, 1.5),
            zorder=3,
        )
    for low, high, at, bars in (
        (points.low, points.high, points.x, axes.vlines),
        (points.left, points.right, points.y, axes.hlines),
    ):
        ends = [(x, a, b) for x, a, b in zip(at, low, high, strict=False) if a is not None and b is not None]
        if ends:
            bars(*zip(*ends, strict=True), color=ink, linewidth=1.2, alpha=0.85, zorder=2.5)


def _heat(axes: Axes, heat: Heat) -> None:
    from matplotlib.patches import Rectangle

    for cell in heat.cells:
        corner, (ground, ink, hatch) = (cell.column - 0.47, cell.row - 0.47), _cell_look(cell)
        look: Any = {"facecolor": ground, "edgecolor": THEME.muted, "hatch": hatch, "linewidth": 0}
        axes.add_patch(Rectangle(corner, 0.94, 0.94, **look))
        box = {"facecolor": THEME.paper, "edgecolor": "none", "pad": 1.5} if hatch else None
        axes.text(cell.column, cell.row, cell.text, ha="center", va="center", fontsize=8.5, color=ink, bbox=box)


def _cell_look(cell: HeatCell) -> tuple[str, str, str | None]:
    """Colours of ground and text, and the hatching."""
    if cell.shade is None:
        return THEME.paper, THEME.ink, "////"
    ground = palette.between(THEME.heat, cell.shade)
    return ground, "white" if palette.is_dark(ground) else THEME.ink, None


def _axis(axes: Axes, name: str, axis: Axis, turned: bool = False, named: bool = True) -> None:
    """Scale, limits, title, and ticks where the description has them."""
    getattr(axes, f"set_{name}scale")("log" if axis.scale == "log" else "linear")
    getattr(axes, f"set_{name}label")(axis.title if named else "")
    ticks = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    getattr(axes, f"set_{name}ticks")(axis.ticks, axis.labels, **ticks)
    getattr(axes, f"set_{name}ticks")([], minor=True)
    getattr(axes, f"set_{name}lim")(*axis.limits)
    axes.tick_params(axis=name, labelsize=8.5 if axis.scale == "names" else 9.5)  # type: ignore[arg-type]


def _is_turned(axis: Axis, num_panels: int) -> bool:
    """Whether names would run into each other when written level."""
    return axis.scale == "names" and num_panels * sum(len(label) + 2 for label in axis.labels) > 75


def _legend(panels: tuple[Panel, ...]) -> list[Line2D]:
    """What stands in the legend: a symbol for every name of points, a stroke for every name of lines."""
    from matplotlib.lines import Line2D

    layers = [layer for panel in panels for layer in panel.layers]
    named: dict[str, Points | Line] = {}
    for kind in (Points, Line):
        for layer in layers:
            if isinstance(layer, kind) and layer.name:
                named.setdefault(layer.name, layer)
    return [Line2D([], [], color=colour(one.colour), label=name, **_symbol(one)) for name, one in named.items()]


def _symbol(layer: Points | Line) -> dict[str, Any]:
    if isinstance(layer, Points):
        return {"linestyle": "none", "marker": palette.SYMBOLS[layer.colour.rank % len(palette.SYMBOLS)][0]}
    return {"linestyle": DASHES[layer.style], "linewidth": layer.width}


def colour(one: Colour) -> str:
    """The colour in the light theme."""
    if isinstance(one, Hue):
        return palette.ramp(one.total)[one.rank]
    return {"ink": THEME.ink, "muted": THEME.muted}[one]
