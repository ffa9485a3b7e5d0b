"""A `Row` as the columns of a table and back, the same for SQLite and for exports. No torch."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from batchscope.option import ALWAYS_A_CHOICE
from batchscope.options import OPTIONS
from batchscope.records.histories import finite, from_json, to_json
from batchscope.records.row import Outcome, Row
from batchscope.records.rows import COLUMNS, KINDS, Column, Rows, as_column

# What a field is where a table lacks it: for an option, what was done before there was a choice.
ABSENT = {field.name: field.default for field in dataclasses.fields(Row) if field.default is not dataclasses.MISSING}
ABSENT |= {name: o.formerly for name, o in OPTIONS.items() if o.formerly is not ALWAYS_A_CHOICE}
# What an empty cell of a table means in a column that must have a value.
_EMPTY = {
    name: {float: math.nan, str: ""}[kind]
    for name, (kind, optional) in KINDS.items()
    if kind in (float, str) and not optional
}


def sql_type(column: str) -> str:
    """Return INTEGER, REAL or TEXT."""
    return {int: "INTEGER", bool: "INTEGER", float: "REAL"}.get(KINDS[column][0], "TEXT")


def _joined(sizes: tuple[int, ...] | None) -> str | None:
    return None if sizes is None else "x".join(map(str, sizes))


# Field -> its value as a text, of the fields whose values are neither texts nor numbers.
PLAIN: dict[str, Callable[[Any], str | None]] = {
    "outcome": lambda outcome: str(outcome.value),
    "input_shape": _joined,
    "history": to_json,
}


def encode(row: Row, history: bool = True) -> dict[str, Any]:
    """Return column -> text, number, Boolean or None.

    Numbers that are not finite become None, shapes texts such as 1x28x28, the history JSON (if it is wanted).
    """
    values = {name: getattr(row, name) for name in COLUMNS if history or name != "history"}
    return {name: PLAIN[name](value) if name in PLAIN else finite(value) for name, value in values.items()}


def decode(values: Mapping[str, Any]) -> Row:
    """The inverse of `encode`; a column that is missing takes the default of its field."""
    return decode_all([(tuple(values), [tuple(values.values())])])[0]


def decode_all(
    pieces: Iterable[tuple[Sequence[str], Sequence[Sequence[Any]]]], shared: Mapping[str, Any] | None = None
) -> Rows:
    """Return the rows of a table that comes in pieces, (names of its columns, lines); those of no field are left out.

    shared: column -> value of all rows, for columns that the pieces lack.
    Raises KeyError for a missing column whose field has no default, ValueError for a text that is no outcome.
    """
    shared, count = shared or {}, 0
    found: dict[str, list[Column]] = {name: [as_column(name, ())] for name in COLUMNS if name not in shared}
    for names, lines in pieces:
        count += len(lines)
        table = dict(zip(names, zip(*lines, strict=True), strict=True))
        for name, arrays in found.items():
            arrays.append(as_column(name, _entries(name, table, len(lines))))
    columns = {name: np.concatenate(arrays) for name, arrays in found.items()}
    for name, value in shared.items():
        columns[name] = as_column(name, _entries(name, {name: [value]}, 1)).repeat(count)
    return Rows(columns)


def _entries(name: str, table: Mapping[str, Sequence[Any]], length: int) -> Sequence[Any]:
    """The values of one field of `length` rows."""
    if name not in table and name in ABSENT:
        return [ABSENT[name]] * length
    entries = table[name]
    if name in _EMPTY and None in entries:
        entries = [_EMPTY[name] if entry is None else entry for entry in entries]
    if name == "history":
        return list(map(from_json, entries))
    if name in _FEW:
        read = {entry: _FEW[name](entry) for entry in set(entries)}
        return list(map(read.__getitem__, entries))
    return entries


def _sizes(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(map(int, text.split("x")))


# Most texts are those of few: one string for all equal ones takes less memory and compares at once.
_FEW: dict[str, Callable[[Any], Any]] = {
    **{name: sys.intern for name, (kind, _) in KINDS.items() if kind is str and name != "trial_id"},
    "outcome": Outcome,
    "input_shape": _sizes,
}
