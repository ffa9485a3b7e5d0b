"""A `Row` as the columns of a table and back, the same for SQLite and for exports. No torch."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from batchscope.records import Evaluation, Outcome, Row

COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
_HISTORY = tuple(field.name for field in dataclasses.fields(Evaluation))
_KINDS = typing.get_type_hints(Row)
# What an empty cell of a table means in a column that must have a value.
_ABSENT = {name: {float: math.nan, str: ""}[kind] for name, kind in _KINDS.items() if kind in (float, str)}


def sql_type(column: str) -> str:
    """Return INTEGER, REAL or TEXT."""
    kind = _KINDS[column]
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return {int: "INTEGER", float: "REAL"}.get(kind, "TEXT")


def encode(row: Row) -> dict[str, Any]:
    """Return column -> text, number or None; numbers that are not finite become None, the history JSON text."""
    values = {name: finite(getattr(row, name)) for name in COLUMNS}
    return values | {"outcome": row.outcome.value, "history": history_to_json(row.history)}


def decode(values: Mapping[str, Any]) -> Row:
    """The inverse of `encode`; a column that is missing takes the default of its field."""
    known = {name: values[name] for name in COLUMNS if name in values}
    for name in known.keys() & _ABSENT.keys():
        if known[name] is None:
            known[name] = _ABSENT[name]
    known["outcome"] = Outcome(known["outcome"])
    known["history"] = history_from_json(known.get("history"))
    return Row(**known)


def history_to_json(history: Sequence[Evaluation]) -> str:
    """Return evaluations as JSON, field -> list of values; a number that is not finite becomes null.

    >>> history_to_json([Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, math.inf)])[:61]
    '{"epoch":[0.0,1.0],"step":[0,7],"train_loss":[2.5,null],"trai'
    """
    columns = {name: [finite(getattr(entry, name)) for entry in history] for name in _HISTORY}
    return json.dumps(columns, separators=(",", ":"), allow_nan=False)


def history_from_json(text: str | None) -> tuple[Evaluation, ...]:
    """The inverse of `history_to_json`; null becomes NaN where a number is expected. A list of objects is read too."""
    columns = json.loads(text or "{}")
    if isinstance(columns, list):
        columns = {name: [entry[name] for entry in columns] for name in _HISTORY}
    return tuple(map(Evaluation, *(_numbers(name, columns.get(name, [])) for name in _HISTORY)))


def _numbers(name: str, column: list[float | None]) -> list[Any]:
    if name == "batch_size_bound" or None not in column:
        return column
    return [math.nan if value is None else value for value in column]


def finite(value: Any) -> Any:
    """None in place of a float that is not finite: neither SQL nor JSON has one."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
