"""Colours and symbols of all drawings: one ramp for things in an order, one for heat maps, each for light and dark.

Lightness rises with hue along the ramp, wide to deep: the order survives colour blindness and grey print, and symbols
repeat it.
"""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """Colours of text (ink, muted where it matters less), of grids and of the ground; anchors of the two ramps."""

    ink: str
    muted: str
    grid: str
    paper: str
    ramp: tuple[str, ...]
    heat: tuple[str, ...]


LIGHT = Theme(
    ink="#1c2430",
    muted="#5c6773",
    grid="#dfe4ea",
    paper="#ffffff",
    ramp=("#26285e", "#1c6a94", "#1f9e89", "#d98a1a"),
    heat=("#e8f0f5", "#a9cadc", "#5b9bbd", "#2a6694", "#172f5c"),
)
DARK = Theme(
    ink="#e4e8ee",
    muted="#9aa5b1",
    grid="#323b47",
    paper="#14181f",
    ramp=("#8b93ff", "#4fb4e6", "#4fd6b0", "#ffd166"),
    heat=("#1b3350", "#24557f", "#3683ab", "#74b6d2", "#cfe6f0"),
)
# The names of each symbol in matplotlib and in plotly. No triangles: they say that a value lies beyond.
SYMBOLS = (
    ("o", "circle"),
    ("s", "square"),
    ("D", "diamond"),
    ("P", "cross"),
    ("*", "star"),
    ("p", "pentagon"),
    ("h", "hexagon"),
    ("d", "diamond-tall"),
    ("8", "octagon"),
    ("H", "hexagon2"),
)


def ramp(count: int, anchors: tuple[str, ...] = LIGHT.ramp) -> list[str]:
    """Return `count` colours spread over the anchors by linear interpolation in sRGB."""
    if count == 1:
        return [anchors[1]]
    return [between(anchors, k / (count - 1)) for k in range(count)]


def between(anchors: tuple[str, ...], fraction: float) -> str:
    """The colour at a fraction, from 0 to 1, of the way along the anchors."""
    position = fraction * (len(anchors) - 1)
    left = min(int(position), len(anchors) - 2)
    weight = position - left
    pairs = zip(_channels(anchors[left]), _channels(anchors[left + 1]), strict=True)
    return "#" + "".join(f"{round(a + weight * (b - a)):02x}" for a, b in pairs)


def is_dark(colour: str) -> bool:
    """Whether white text reads better on it than black (luminance of Rec. 601)."""
    red, green, blue = _channels(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
