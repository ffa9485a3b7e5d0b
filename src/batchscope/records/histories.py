"""The history of a run: stored as JSON, decoded when it is looked at, or by columns for many runs at once. No torch."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from batchscope.errors import StoreError
from batchscope.records.row import Evaluation

_DIGIT = re.compile(r"\d")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Evaluation)}


class History(Sequence[Evaluation]):
    """The evaluations of one run, made from their JSON text when they are first asked for.

    Equal to any sequence of the same evaluations. A study of 10^5 runs has millions of evaluations, and most readers
    want none of them, or one of their fields (see `columns`). Raises StoreError, when looked at, for a damaged text.
    """

    __slots__ = ("_entries", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._entries: tuple[Evaluation, ...] | None = None

    @property
    def entries(self) -> tuple[Evaluation, ...]:
        if self._entries is None:
            try:
                self._entries = _decode(self.text)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise _damaged(error) from None
        return self._entries

    def __bool__(self) -> bool:
        return _DIGIT.search(self.text) is not None  # found at once, without decoding

    def __len__(self) -> int:
        return _count(_columns([self], "epoch")[0])

    @overload
    def __getitem__(self, index: int) -> Evaluation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Evaluation, ...]: ...
    def __getitem__(self, index: int | slice) -> Evaluation | tuple[Evaluation, ...]:
        return self.entries[index]

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.entries)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, History) and self.text == other.text:
            return True
        return self.entries == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return repr(self.entries)


def to_json(history: Sequence[Evaluation]) -> str:
    """Return evaluations as JSON, field -> list of values; a number that is not finite becomes null.

    >>> to_json([Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, math.inf)])[:61]
    '{"epoch":[0.0,1.0],"step":[0,7],"train_loss":[2.5,null],"trai'
    """
    if isinstance(history, History):
        return history.text
    values = {name: [finite(getattr(entry, name)) for entry in history] for name in _DEFAULTS}
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def columns(histories: Sequence[Sequence[Evaluation]], name: str) -> NDArray[np.float64]:
    """[N, E] one field of N histories side by side, padded with NaN; a number that is missing is NaN too.

    >>> columns([[Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, 0.5)], []], "train_loss")
    array([[2.5, 0.5],
           [nan, nan]])
    """
    texts = _columns(histories, name)
    place = {text: number for number, text in enumerate(dict.fromkeys(texts))}  # runs of a batch size share their steps
    lengths = np.array([_count(text) for text in place], dtype=np.int64)
    table = np.full((len(place), lengths.max(initial=0)), np.nan)
    try:
        numbers = np.array(json.loads(f"[{','.join(filter(None, place))}]"), dtype=float)
        table[np.arange(table.shape[1]) < lengths[:, None]] = numbers
    except ValueError as error:
        raise _damaged(error) from None
    return table[[place[text] for text in texts]] if texts else table


def finite(value: Any) -> Any:
    """None in place of a float that is not finite: neither SQL nor JSON has one."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _columns(histories: Iterable[Sequence[Evaluation]], name: str) -> list[str]:
    """The numbers of one field of each history as they stand in its text, "1.0,2.0,null"; decoded where they do not."""
    mark = f'"{name}":['
    found = []
    for history in histories:
        text = history.text if isinstance(history, History) else ""
        start = text.find(mark)
        if start >= 0:
            found.append(text[start + len(mark) : text.find("]", start)])
        else:
            found.append(",".join(json.dumps(finite(getattr(entry, name))) for entry in history))
    return found


def _damaged(error: Exception) -> StoreError:
    return StoreError(f"a stored history is damaged ({error}); move its results file away and run again")


def _count(column: str) -> int:
    return column.count(",") + 1 if column else 0


def _decode(text: str) -> tuple[Evaluation, ...]:
    """The inverse of `to_json`; a field that is missing takes its default. A list of objects is read too."""
    found = json.loads(text or "{}")
    if isinstance(found, list):
        found = {name: [entry[name] for entry in found] for name in (found[0] if found else ())}
    length = len(found.get("epoch", ()))
    values = [_numbers(name, found, length) for name in _DEFAULTS] if length else []
    return tuple(Evaluation(*numbers) for numbers in zip(*values, strict=True))


def _numbers(name: str, found: dict[str, list[Any]], length: int) -> list[Any]:
    """A field's values; null is None where that is the default, and NaN where a number is expected."""
    default = _DEFAULTS[name]
    values = found[name] if default is dataclasses.MISSING else found.get(name, [default] * length)
    if default is None or None not in values:
        return values
    return [math.nan if value is None else value for value in values]
