"""Colours of shapes, wide to deep: lightness rises with hue: the order survives colour blindness and grey print.

Markers repeat the order. One ramp for light grounds, one for dark ones.
"""

from __future__ import annotations

LIGHT_ANCHORS = ("#26285e", "#1c6a94", "#1f9e89", "#d98a1a")
DARK_ANCHORS = ("#8b93ff", "#4fb4e6", "#4fd6b0", "#ffd166")


def ramp(count: int, anchors: tuple[str, ...] = LIGHT_ANCHORS) -> list[str]:
    """Return `count` colours spread over the anchors by linear interpolation in sRGB."""
    if count == 1:
        return [anchors[1]]
    return [_between(anchors, i * (len(anchors) - 1) / (count - 1)) for i in range(count)]


def _between(anchors: tuple[str, ...], position: float) -> str:
    left = min(int(position), len(anchors) - 2)
    weight = position - left
    pairs = zip(_channels(anchors[left]), _channels(anchors[left + 1]), strict=True)
    return "#" + "".join(f"{round(a + weight * (b - a)):02x}" for a, b in pairs)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
