"""One look for all static figures: sizes, colours, log2 axes, and files that are the same bytes for the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscope.analysis.formatting import tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1c2430", "#5c6773", "#dfe4ea"
MARKERS = "osD^vP*Xph"
SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.7,
    "svg.hashsalt": "batchscope",
    "svg.fonttype": "none",
}


@contextmanager
def look() -> Iterator[None]:
    """Apply the style inside the block only; the caller's matplotlib settings are untouched."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(title: str, subtitle: str, note: str, size: tuple[float, float] = (8.0, 5.0)) -> tuple[Figure, Axes]:
    """Return a figure with one axes; the title says what is drawn, the note how it is defined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150)
    height = size[1]
    figure.text(0.02, 1 - 0.28 / height, title, fontsize=13, fontweight="bold", va="center")
    figure.text(0.02, 1 - 0.55 / height, subtitle, fontsize=8.5, color=MUTED, va="center")
    figure.text(0.02, 0.08 / height, note, fontsize=7.5, color=MUTED, va="bottom", linespacing=1.35)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axisbelow(True)
    return figure, axes


def place(figure: Figure, axes: Axes, left: float = 0.75, right: float = 0.2, bottom: float = 1.0) -> None:
    """Set the axes' margins in inches, below the title and above the note."""
    width, height = figure.get_size_inches()
    axes.set_position((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + 0.85) / height))


def log2_axis(axis: Any, ticks: Sequence[float], most: int = 12) -> None:
    """Label a log2 axis with the numbers themselves, so many of them at most."""
    step = -(-len(ticks) // most)
    chosen = list(ticks)[::step]
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log", base=2)
    axis.set_ticks(chosen, list(map(_tick, chosen)))
    axis.set_ticks([], minor=True)


def _tick(value: float) -> str:
    return tick(value, "$2^{{{}}}$")


def arrow(axes: Axes, x: float, y: float, factor: float, colour: str) -> None:
    """Draw an arrow from a marker at (x, y) to `factor` times y, or below it for a factor under 1."""
    axes.annotate("", (x, factor * y), (x, y), arrowprops={"arrowstyle": "->", "color": colour, "shrinkA": 3})


def powers_of_two(low: float, high: float) -> list[float]:
    """Return the powers of two from just below `low` to just above `high`."""
    return [2.0**k for k in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg; equal figures give equal bytes."""
    paths = [directory / f"{name}.png", directory / f"{name}.svg"]
    figure.savefig(paths[0], metadata={"Software": "batchscope"})
    figure.savefig(paths[1], metadata={"Date": None, "Creator": "batchscope"})
    return paths
