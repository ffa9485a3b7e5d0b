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
_KINDS = typing.get_type_hints(Row)


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
    known = {name: _restore(name, values[name]) for name in COLUMNS if name in values}
    known["outcome"] = Outcome(known["outcome"])
    known["history"] = history_from_json(known.get("history"))
    return Row(**known)


def history_to_json(history: Sequence[Evaluation]) -> str:
    """Return evaluations as a JSON list of objects; a number that is not finite becomes null."""
    entries = [{key: finite(value) for key, value in vars(entry).items()} for entry in history]
    return json.dumps(entries, separators=(",", ":"), allow_nan=False)


def history_from_json(text: str | None) -> tuple[Evaluation, ...]:
    """The inverse of `history_to_json`; null becomes NaN where a number is expected."""
    return tuple(_evaluation(entry) for entry in json.loads(text or "[]"))


def _evaluation(entry: dict[str, Any]) -> Evaluation:
    optional = {"batch_size_bound"}
    values: dict[str, Any] = {k: math.nan if v is None and k not in optional else v for k, v in entry.items()}
    return Evaluation(**values)


def finite(value: Any) -> Any:
    """None in place of a float that is not finite: neither SQL nor JSON has one."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _restore(name: str, value: Any) -> Any:
    if value is None and _KINDS[name] is float:
        return math.nan
    return "" if value is None and _KINDS[name] is str else value
