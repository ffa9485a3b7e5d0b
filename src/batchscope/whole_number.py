"""Whole numbers as people type them: in options and in the environment."""

from __future__ import annotations

MOST_DIGITS = 18  # beyond all that is counted here; what has no more fits 64 bits


def whole_number(text: str) -> int | None:
    """The number that decimal digits say; None for any other text, and for one too long to be a count of anything.

    >>> whole_number("12"), whole_number("-1"), whole_number("1.0"), whole_number("²"), whole_number(5000 * "9")
    (12, None, None, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None
