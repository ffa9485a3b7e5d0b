"""A `Row` as the columns of a table and back, the same for SQLite and for exports. No torch."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchscope.histories import History, finite, to_json
from batchscope.records import Outcome, Row

COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Row)}
_KINDS = typing.get_type_hints(Row)
# What an empty cell of a table means in a column that must have a value.
_ABSENT = {name: {float: math.nan, str: ""}[kind] for name, kind in _KINDS.items() if kind in (float, str)}


# A Row that is not frozen yet. A frozen record sets each field by a call, seven times slower: 0.7 s for 10^5 rows.
_Draft: Any = dataclasses.make_dataclass("_Draft", COLUMNS, slots=True)


def sql_type(column: str) -> str:
    """Return INTEGER, REAL or TEXT."""
    kind = _KINDS[column]
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return {int: "INTEGER", float: "REAL"}.get(kind, "TEXT")


def encode(row: Row) -> dict[str, Any]:
    """Return column -> text, number or None; numbers that are not finite become None, the history JSON text."""
    values = {name: finite(getattr(row, name)) for name in COLUMNS}
    return values | {"outcome": row.outcome.value, "history": to_json(row.history)}


def decode(values: Mapping[str, Any]) -> Row:
    """The inverse of `encode`; a column that is missing takes the default of its field."""
    return decode_all(tuple(values), [tuple(values.values())])[0]


def decode_all(names: Sequence[str], lines: Sequence[Sequence[Any]]) -> list[Row]:
    """Return the rows of a table with the columns `names`, those of no field left out; column by column, for speed.

    Raises KeyError for a missing column whose field has no default, ValueError for a text that is no outcome.
    """
    table = dict(zip(names, zip(*lines, strict=True), strict=True)) if lines else {}
    drafts = list(map(_Draft, *(_column(name, table, len(lines)) for name in COLUMNS))) if lines else []
    for draft in drafts:
        draft.__class__ = Row
    return drafts


def _column(name: str, table: Mapping[str, Sequence[Any]], length: int) -> Sequence[Any]:
    """The values of one field of `length` rows."""
    default = _DEFAULTS[name]
    if name not in table and default is not dataclasses.MISSING:
        return [default] * length
    values = table[name]
    if name in _ABSENT and None in values:
        values = [_ABSENT[name] if value is None else value for value in values]
    read = _READERS.get(name)
    return values if read is None else list(map(read, values))


def _history(text: str | None) -> History | tuple[()]:
    return History(text) if text else ()


# Most texts are those of few: one string for all equal ones takes less memory and compares at once.
_READERS: dict[str, Callable[[Any], Any]] = {
    **{name: sys.intern for name, kind in _KINDS.items() if kind is str and name != "trial_id"},
    "outcome": Outcome,
    "history": _history,
}
