"""CSV: the one writer of every table that leaves as text with commas. No torch.

A text that a spreadsheet would calculate as a formula (it begins with =, +, -, @, a tab or a carriage return) gets an
apostrophe in front, and so does one that begins with an apostrophe: to have a text as it was, a reader takes one
leading apostrophe off, as `as_it_was` does. Numbers are written as they are, and nothing for a number that is missing
or not finite.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from batchscope.records.codec import PLAIN
from batchscope.records.rows import Rows

CHUNK = 1000  # rows written at once: by columns, for speed, in pieces that fit the processor's cache
Plain = Callable[[Any], str | None]
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_quoted = re.compile('[,"\r\n]').search  # where CSV needs quotes
_special = re.compile("[,\"\r\n]|\0[-=+@\t']").search  # the same, or a formula, in texts joined by "\0"


def as_it_was(cell: str) -> str:
    """The text of a cell without the apostrophe that keeps it from being a formula.

    >>> as_it_was("'=1+1"), as_it_was("''tis"), as_it_was("'tis")
    ('=1+1', "'tis", "'tis")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def csv_text(rows: Rows, names: Sequence[str], digits: int | None = None) -> Iterator[str]:
    """The fields `names` of the rows, in pieces of whole lines, the names first. digits: of numbers; None: all."""
    yield csv_lines([[name] for name in names])
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        yield csv_lines([chunk.entries(name) for name in names], digits, [PLAIN.get(name, str) for name in names])


def csv_lines(
    columns: Sequence[Sequence[object]], digits: int | None = None, plain: Iterable[Plain] = itertools.repeat(str)
) -> str:
    """A line per row of columns of one length >= 1. plain: of each column, what makes a text of what is no number."""
    parts: list[Iterable[str]] = []
    texts = [_column(values, digits, of_value) for values, of_value in zip(columns, plain, strict=False)]
    for is_constant, group in itertools.groupby(texts, lambda found: isinstance(found, str)):
        some = list(group)  # neighbouring columns of one value are joined once for all rows
        parts += [itertools.repeat(",".join(map(str, some)), len(columns[0]))] if is_constant else some
    return "\n".join([*map(",".join, zip(*parts, strict=True)), ""])


def _column(values: Sequence[object], digits: int | None, plain: Plain) -> str | Iterable[str]:
    """The texts of a column, or its only one: in one go where they are floats, integers or plain texts."""
    if values.count(values[0]) == len(values):
        return _cell(values[0], digits, plain)
    kinds = set(map(type, values))
    if kinds == {float} and digits is not None:
        text = "\n".join([f"%.{digits}g"] * len(values)) % tuple(values)
        if "n" not in text:  # no nan, no inf
            return text.split("\n")
    elif kinds == {int} or (kinds == {str} and not _special("\0".join(["", *map(str, values)]))):
        return map(str, values)
    texts = {value: _cell(value, digits, plain) for value in set(values)}
    return map(texts.__getitem__, values)


def _cell(value: object, digits: int | None, plain: Plain) -> str:
    if isinstance(value, int) or value is None:
        return "" if value is None else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return float.__repr__(value) if digits is None else f"{value:.{digits}g}"
    text = plain(value) or ""
    text = f"'{text}" if text.startswith(FORMULA) else text
    return '"' + text.replace('"', '""') + '"' if _quoted(text) else text
