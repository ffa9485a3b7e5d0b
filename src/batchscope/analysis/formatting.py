"""How numbers, intervals, durations and probabilities read, in every sentence, table, chart and JSON. One rendering."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

GROUPED_FROM = 10_000  # 1024 as it is typed, 12 300 with a space: four digits are read at a glance
POWERS_FROM = 1e9
LONGEST_POWER = 16  # ticks beyond 2^16 are written as powers
WIDTH = 100  # columns of a terminal that every table of text fits

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


SMALL_UNITS = ((1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def number(value: float) -> str:
    """A whole number exactly, any other with three digits: 1024, 12 300 (for 12345.6), 37.2, 0.0123.

    From 10^9 on, and below 10^-4, three digits and a power of ten. "-" for NaN. An infinite number is a bound that is
    missing, and is put in words where that matters (`bounds_text`, `batch_interval`).

    >>> number(1024), number(1024.3), number(60000), number(0.01234)
    ('1024', '1020', '60 000', '0.0123')
    """
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "unbounded"
    if value == 0:
        return "0"
    rounded = float(value) if float(value).is_integer() else float(f"{value:.3g}")
    if abs(rounded) >= POWERS_FROM or abs(rounded) < 1e-4:
        return f"{value:.2e}"
    return grouped(round(rounded)) if abs(rounded) >= 100 or rounded.is_integer() else f"{rounded:g}"


def batch_size(value: float) -> str:
    """A batch size, estimated or tested: a whole number of examples from ten on."""
    return number(float(round(value))) if 10 <= abs(value) < 1000 else number(value)


def grouped(count: int) -> str:
    """A count in full, its digits in threes from five digits on: 1797, 60 000."""
    return f"{count:,}".replace(",", " ") if abs(count) >= GROUPED_FROM else str(count)


def tick(value: float) -> str:
    """The label of a tick: the number, or the power of two that it is where it would be long.

    >>> tick(1024), tick(2**20), tick(0.01)
    ('1024', '2²⁰', '0.01')
    """
    exponent = math.log2(value) if value > 0 else math.nan
    if abs(exponent) > LONGEST_POWER and exponent.is_integer():
        return f"2{f'{exponent:.0f}'.translate(_SUPERSCRIPTS)}"
    return number(value)


def duration(seconds: float) -> str:
    """``83 µs``, ``1.5 ms``, ``12.3 s``, ``4.1 min`` or ``2.5 h``; "-" where it was not recorded."""
    if not math.isfinite(seconds):
        return "-"
    if 0 < seconds < 0.09995:
        size, unit = next((size, unit) for size, unit in SMALL_UNITS if seconds >= 0.9995 * size or unit == "ns")
        return f"{seconds / size:.3g} {unit}"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def spread(least: float, most: float) -> str:
    """``7 - 13``, or ``7`` where both are the same."""
    return number(least) if least == most else f"{number(least)} - {number(most)}"


def batch_interval(interval: tuple[float, float], smallest: float, largest: float) -> str:
    """``[512, > 4096]``: an end outside the sweep is printed as a comparison; "" when there is no interval."""
    if any(math.isnan(end) for end in interval):
        return ""
    words = [
        f"<= {number(smallest)}" if end <= 0 else f"> {number(largest)}" if end == math.inf else batch_size(end)
        for end in interval
    ]
    return f"[{words[0]}, {words[1]}]"


def bounds_text(interval: tuple[float, float]) -> str:
    """``[2, 16]``, ``[2, no upper bound]`` or ``[no bounds]``, of a quantity above 0; "" when there is no interval.

    Both ends at 0, or beyond every number: nothing is known but what a "<" or ">" before it says.
    """
    if any(math.isnan(end) for end in interval) or interval[1] <= 0 or interval[0] == math.inf:
        return ""
    if interval[0] <= 0 and math.isinf(interval[1]):
        return "[no bounds]"
    low = number(interval[0]) if interval[0] > 0 else "no lower bound"
    high = number(interval[1]) if math.isfinite(interval[1]) else "no upper bound"
    return f"[{low}, {high}]"


def probability_text(value: float, digits: int = 2) -> str:
    """``0.97``, ``0.996``, ``> 0.999``: never 0 or 1, as no number of runs makes sure; "-" for NaN."""
    if math.isnan(value):
        return "-"
    if not 0.001 <= value <= 0.999:
        return "> 0.999" if value > 0.5 else "< 0.001"
    text = f"{value:.{digits}f}"
    return f"{value:.3f}" if float(text) in (0, 1) else text


def plain(value: Any) -> Any:
    """`value` for JSON: NaN and infinities become None, arrays lists, tuples lists, records what they say of
    themselves.
    """
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def fields_of(record: Any, *left_out: str, **more: Any) -> dict[str, Any]:
    """The fields of a record for JSON, some left out, and what else is said of it."""
    fields = {name: value for name, value in vars(record).items() if name not in left_out}
    return {name: plain(value) for name, value in (fields | more).items()}


def text_table(
    heads: Sequence[str], lines: Iterable[Sequence[str]], title: str = "", left: Sequence[str] = ("shape",)
) -> Table:
    """A table for a terminal. left: the heads of columns of words, flush left and wrapped; others never wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text  # rich would take "[no bounds]" for markup

    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 0, 0, 1),
    )
    for head in heads:
        words = head in left
        table.add_column(Text(head), justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def rendered(table: Table) -> str:
    """The table as plain text."""
    from rich.console import Console

    console = Console(width=WIDTH, color_system=None, highlight=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())
