"""The evaluations of many runs, by columns: read when they are first asked for, and seen run by run. No torch."""

from __future__ import annotations

import abc
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from batchscope.records.row import Evaluation

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]

FIELDS = {field.name: field.default for field in dataclasses.fields(Evaluation)}


class EvaluationTable(abc.ABC):
    """The evaluations of N runs, one after the other; each column is loaded when it is first asked for.

    A study of 10^5 runs has millions of evaluations, and most readers want none of them, or one of their fields.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Numbers] = {}
        self._known_starts: Integers | None = None

    @abc.abstractmethod
    def load_lengths(self) -> Integers:
        """[N] the number of evaluations of each run."""

    @abc.abstractmethod
    def load(self, name: str) -> Numbers:
        """One field of all evaluations; NaN where it is missing."""

    @property
    def starts(self) -> Integers:
        """[N + 1] where the evaluations of each run begin, and where the last ones end."""
        if self._known_starts is None:
            self._known_starts = np.concatenate([[0], np.cumsum(self.load_lengths(), dtype=np.int64)])
        return self._known_starts

    def column(self, name: str) -> Numbers:
        """One field of all evaluations, float64; NaN where it is missing."""
        if name not in self._loaded:
            self._loaded[name] = self.load(name)
        return self._loaded[name]

    def of_run(self, run: int) -> tuple[Evaluation, ...]:
        """The evaluations of one run."""
        part = slice(self.starts[run], self.starts[run + 1])
        return tuple(map(Evaluation, *(_entries(name, self.column(name)[part]) for name in FIELDS)))

    def padded(self, name: str, runs: Integers) -> Numbers:
        """[n, E] one field of n of the runs side by side, padded with NaN."""
        lengths = self.starts[runs + 1] - self.starts[runs]
        table = np.full((len(runs), lengths.max(initial=0)), np.nan)
        places = np.arange(lengths.sum()) + np.repeat(self.starts[runs] - (np.cumsum(lengths) - lengths), lengths)
        table[np.arange(table.shape[1]) < lengths[:, None]] = self.column(name)[places]
        return table


class GivenEvaluations(EvaluationTable):
    """The evaluations of runs that are in memory."""

    def __init__(self, runs: Sequence[Sequence[Evaluation]]) -> None:
        super().__init__()
        self._runs = runs

    def load_lengths(self) -> Integers:
        """[N] their lengths."""
        return np.fromiter(map(len, self._runs), dtype=np.int64, count=len(self._runs))

    def load(self, name: str) -> Numbers:
        """One field of all; NaN for None."""
        return np.array([getattr(entry, name) for run in self._runs for entry in run], dtype=float)


class History(Sequence[Evaluation]):
    """The evaluations of one run of a table. Equal to any sequence of the same evaluations."""

    __slots__ = ("run", "table")

    def __init__(self, table: EvaluationTable, run: int) -> None:
        self.table, self.run = table, run

    @property
    def entries(self) -> tuple[Evaluation, ...]:
        """The evaluations themselves, made when they are asked for."""
        return self.table.of_run(self.run)

    def __len__(self) -> int:
        return int(self.table.starts[self.run + 1] - self.table.starts[self.run])

    @overload
    def __getitem__(self, index: int) -> Evaluation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Evaluation, ...]: ...
    def __getitem__(self, index: int | slice) -> Evaluation | tuple[Evaluation, ...]:
        return self.entries[index]

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.entries)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, History) and (other.table, other.run) == (self.table, self.run):
            return True
        return self.entries == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return repr(self.entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (self.entries,)


def columns(histories: Sequence[Sequence[Evaluation]], name: str) -> Numbers:
    """[N, E] one field of N histories side by side, padded with NaN; a number that is missing is NaN too.

    >>> columns([[Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, 0.5)], []], "train_loss")
    array([[2.5, 0.5],
           [nan, nan]])
    """
    parts = [(places, table.padded(name, runs)) for places, table, runs in _by_table(histories)]
    if len(parts) == 1:
        return parts[0][1]
    result = np.full((len(histories), max((part.shape[1] for _, part in parts), default=0)), np.nan)
    for places, part in parts:
        result[places, : part.shape[1]] = part
    return result


def lengths(histories: Sequence[Sequence[Evaluation]]) -> Integers:
    """[N] the number of evaluations of each."""
    result = np.zeros(len(histories), dtype=np.int64)
    for places, table, runs in _by_table(histories):
        result[places] = np.diff(table.starts)[runs]
    return result


def _by_table(histories: Sequence[Any]) -> list[tuple[Sequence[int], EvaluationTable, Integers]]:
    """(places among the histories, their table, [n] which of its runs they are), those of no table in one of theirs."""
    tables = [getattr(history, "table", None) for history in histories]
    if tables and tables.count(tables[0]) == len(tables):  # most often; 10^5 at a time
        return [(range(len(tables)), *_runs_of(tables[0], histories))]
    groups: dict[EvaluationTable | None, list[int]] = {}
    for place, table in enumerate(tables):
        groups.setdefault(table, []).append(place)
    return [(places, *_runs_of(table, [histories[place] for place in places])) for table, places in groups.items()]


def _runs_of(table: EvaluationTable | None, histories: Sequence[Any]) -> tuple[EvaluationTable, Integers]:
    """The same of histories of one table, or of none."""
    if table is None:
        return GivenEvaluations(histories), np.arange(len(histories))
    return table, np.fromiter((history.run for history in histories), dtype=np.int64, count=len(histories))


def to_json(history: Sequence[Evaluation]) -> str:
    """Return evaluations as JSON, field -> list of values; a number that is not finite becomes null.

    >>> to_json([Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, math.inf)])[:61]
    '{"epoch":[0.0,1.0],"step":[0,7],"train_loss":[2.5,null],"trai'
    """
    values = {name: [finite(getattr(entry, name)) for entry in history] for name in FIELDS}
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def from_json(text: str | None) -> tuple[Evaluation, ...]:
    """The inverse of `to_json`; a field that is missing takes its default. A list of objects is read too.

    Raises ValueError, TypeError, KeyError or AttributeError for a damaged text.
    """
    found = json.loads(text or "{}")
    if isinstance(found, list):
        found = {name: [entry[name] for entry in found] for name in (found[0] if found else ())}
    length = len(found.get("epoch", ()))
    values = [_values(name, found, length) for name in FIELDS] if length else []
    return tuple(Evaluation(*numbers) for numbers in zip(*values, strict=True))


def finite(value: Any) -> Any:
    """None in place of a float that is not finite: neither SQL nor JSON has one."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _values(name: str, found: dict[str, list[Any]], length: int) -> list[Any]:
    """A field's values; null is None where that is the default, and NaN where a number is expected."""
    default = FIELDS[name]
    values = found[name] if default is dataclasses.MISSING else found.get(name, [default] * length)
    return [_absent(name) if value is None else value for value in values]


def _entries(name: str, numbers: Numbers) -> list[Any]:
    """A field's values as evaluations have them."""
    if name == "step":
        return list(map(int, numbers.tolist()))
    return [value if value == value else _absent(name) for value in numbers.tolist()]  # NaN differs from itself


def _absent(name: str) -> float | None:
    return None if FIELDS[name] is None else math.nan
