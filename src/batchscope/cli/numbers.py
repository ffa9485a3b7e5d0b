"""Numbers as typed on the command line: lists, ranges, an initialisation by name or by scale."""

from __future__ import annotations

import math
import re

from batchscope.errors import InputError
from batchscope.theory.network import check_num_examples


def integers(option: str, text: str) -> list[int]:
    """Read "784,20,1" or "1-3,10" (ranges include both ends) in the order given; InputError naming the option."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise InputError(f"{option} {text!r}: {part.strip()!r} is not a whole number or a range; give e.g. 1-3,10")
        if dash and int(high) < int(low):
            raise InputError(f"{option} {text!r}: the range {part.strip()!r} is empty; the smaller end comes first")
        found += range(int(low), int(high or low) + 1)
    return found


def scale(option: str, text: str) -> str | float | list[float]:
    """Read an initialisation's name, one standard deviation or a comma-separated list of them."""
    if text.replace("_", "").isalpha() and text not in ("inf", "nan"):
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        message = f"{option} {text!r}: give a name such as fan_in, one standard deviation, or one per weight matrix"
        raise InputError(message) from None
    return numbers[0] if len(numbers) == 1 else numbers


def examples(option: str, text: str | None) -> int | float:
    """Read a number of examples; None and "inf" mean the limit of many."""
    if text is None or text == "inf":
        return math.inf
    if not text.replace("_", "").isdecimal():
        raise InputError(f"{option} {text!r} is not a whole number of examples; give e.g. 60000, or inf")
    return check_num_examples(int(text))


def finite(number: float) -> float | None:
    """Return the number, or None for infinity, which JSON cannot say."""
    return number if math.isfinite(number) else None


SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
BYTES_PER_SECOND = {
    unit + rest: size / share
    for prefix, size in (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
    for unit, share in ((f"{prefix}B", 1), (f"{prefix}bit", 8))
    for rest in ("/s", "")
} | {"": 1.0}


def quantity(option: str, text: str, units: dict[str, float]) -> float:
    """Read "50us" or "10Gbit/s": a number above 0 and one of the units (none: the base unit); InputError otherwise."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[-+]?[0-9]+)?)\s*([^\s0-9.]*)\s*", text)
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if found is None or found[2] not in units or not 0 < value < math.inf:
        listed = ", ".join(unit for unit in units if unit)
        raise InputError(f"{option} {text!r}: give a number above 0 and a unit of {listed}")
    return value * units[found[2]]
