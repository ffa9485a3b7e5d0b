"""Numbers as typed on the command line: lists, ranges, an initialisation by name or by scale."""

from __future__ import annotations

import math
import re

from batchscope.errors import InputError, shown
from batchscope.theory.network import check_num_examples
from batchscope.whole_number import whole_number

MOST_NUMBERS = 10_000  # in a list: a table has a line, or a formula a layer, for each


def integers(option: str, text: str) -> list[int]:
    """Read "784,20,1" or "1-3,10" (ranges include both ends) in the order given; InputError naming the option."""
    ranges = [_range(f"{option} {shown(text)}", part.strip()) for part in text.split(",")]
    count = sum(map(len, ranges))
    if count > MOST_NUMBERS:
        raise InputError(f"{option} {shown(text)}: {count} numbers; expected at most {MOST_NUMBERS}")
    return [number for numbers in ranges for number in numbers]


def _range(where: str, part: str) -> range:
    first, dash, last = part.partition("-")
    low, high = whole_number(first), whole_number(last if dash else first)
    if low is None or high is None:
        raise InputError(f"{where}: {shown(part)} is not a whole number or a range; give e.g. 1-3,10")
    if high < low:
        raise InputError(f"{where}: the range {shown(part)} is empty; the smaller end comes first")
    return range(low, high + 1)


def scale(option: str, text: str) -> str | float | list[float]:
    """Read an initialisation's name, one standard deviation or a comma-separated list of them."""
    if text.replace("_", "").isalpha() and text not in ("inf", "nan"):
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        message = f"{option} {shown(text)}: a name such as fan_in, one standard deviation, or one per weight matrix"
        raise InputError(message) from None
    return numbers[0] if len(numbers) == 1 else numbers


def examples(option: str, text: str | None) -> int | float:
    """Read a number of examples; None and "inf" mean the limit of many."""
    if text is None or text == "inf":
        return math.inf
    number = whole_number(text.replace("_", ""))
    if number is None:
        raise InputError(f"{option} {shown(text)} is not a whole number of examples; give e.g. 60000, or inf")
    return check_num_examples(number)


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
    if found is None or found[2] not in units or not 0 < value * units[found[2]] < math.inf:
        listed = ", ".join(unit for unit in units if unit)
        raise InputError(f"{option} {shown(text)}: give a number above 0 and a unit of {listed}")
    return value * units[found[2]]
