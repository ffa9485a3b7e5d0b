"""Rows by columns: the runs of a store without an object for each, and how rows are filtered and grouped. No torch."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from batchscope.options import OPTIONS
from batchscope.records.row import Row

Column: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.int64]
# What is trained and what came of it, then the options; the history last.
COLUMNS = tuple(
    sorted((field.name for field in dataclasses.fields(Row)), key=lambda name: (name == "history", name in OPTIONS))
)


def _kind(hint: Any) -> tuple[type, bool]:
    """What a field holds (int, float, str, ...), and whether it may be None instead."""
    parts = typing.get_args(hint)
    optional = type(None) in parts
    kind = parts[0] if optional else hint
    return typing.get_origin(kind) or kind, optional


KINDS = {name: _kind(hint) for name, hint in typing.get_type_hints(Row).items()}


class Rows(Sequence[Row]):
    """Rows kept as columns; a `Row` is made when it is looked at.

    Equal to any sequence of the same rows. A store has 10^5 of them with 50 fields, and most readers want a few fields
    of all, or the rows of one group: arrays are read many times faster than objects.

    columns: field -> array, for every field (see `as_column`). places: which entries, in what order; None: all.
    ranks: field -> the ranks of its entries, as far as they are known; shared with the rows picked of these.
    """

    __slots__ = ("_columns", "_made", "_places", "_ranks", "_taken")

    def __init__(
        self, columns: Mapping[str, Column], places: Integers | None = None, ranks: dict[str, Integers] | None = None
    ) -> None:
        self._columns = columns
        self._places: Integers = np.arange(len(columns["trial_id"])) if places is None else places
        self._ranks = {} if ranks is None else ranks
        self._taken = dict(columns) if places is None else {}
        self._made: list[Row] | None = None

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """The same rows by columns."""
        if isinstance(rows, Rows):
            return rows
        given = list(rows)
        return cls({name: as_column(name, [getattr(row, name) for row in given]) for name in COLUMNS})

    @classmethod
    def joined(cls, parts: Iterable[Iterable[Row]]) -> Rows:
        """All rows of several sequences, one after the other."""
        some = [cls.of(rows) for rows in parts] or [cls.of(())]
        if len(some) == 1:
            return some[0]
        return cls({name: np.concatenate([rows.column(name) for rows in some]) for name in COLUMNS})

    def column(self, name: str) -> Column:
        """[N] one field of every row, as an array to compute with; a number that is missing is NaN."""
        if name not in self._taken:
            self._taken[name] = self._columns[name][self._places]
        return self._taken[name]

    def entries(self, name: str) -> list[Any]:
        """One field of every row, as the row has it; a number that is missing is None."""
        found: list[Any] = self.column(name).tolist()
        kind, optional = KINDS[name]
        if optional and kind in (int, float):
            return [kind(value) if value == value else None for value in found]  # NaN alone differs from itself
        return found

    def pick(self, places: Column | slice) -> Rows:
        """The rows at some indices, in that order; those of a slice; or those where a Boolean array is true."""
        return Rows(self._columns, self._places[places], self._ranks)

    def where(self, **wanted: Any) -> Rows:
        """The rows whose fields have these values, or one of several: ``rows.where(phase="final", depth=(1, 3))``."""
        rows = self
        for name, value in wanted.items():
            allowed = value if isinstance(value, tuple) else (value,)
            rows = rows.pick(np.any([rows.column(name) == one for one in allowed], axis=0))
        return rows

    def in_order_of(self, *names: str) -> Rows:
        """The rows sorted by some fields; those that agree in them stay as they were.

        The last field is looked at only where all others agree: it is often an identity, slow to rank.
        """
        first = [self._rank(name) for name in reversed(names[:-1])]
        if first and not _some_agree(first, order := np.lexsort(first)):
            return self.pick(order)
        return self.pick(np.lexsort([self._rank(names[-1]), *first]))

    def group_by(self, *names: str) -> dict[tuple[Any, ...], Rows]:
        """Values of some fields -> the rows that have them; groups and rows in the order in which they came."""
        groups = self._groups(names)
        return {key: self.pick(group) for key, group in zip(self._keys(names, groups), groups, strict=True)}

    def distinct(self, *names: str) -> list[tuple[Any, ...]]:
        """The different values of some fields, in the order in which they came."""
        return self._keys(names, self._groups(names))

    def _groups(self, names: Sequence[str]) -> list[Integers]:
        """The indices of the rows that agree in some fields, one array for each combination of values."""
        if not self:
            return []
        ranks = np.array([self._rank(name) for name in names])
        order = np.lexsort(ranks)
        starts = np.flatnonzero(np.diff(ranks[:, order]).any(axis=0)) + 1
        return sorted(np.split(order, starts), key=lambda group: int(group[0]))

    def _keys(self, names: Sequence[str], groups: Sequence[Integers]) -> list[tuple[Any, ...]]:
        firsts = self.pick(np.array([group[0] for group in groups], dtype=np.int64))
        return list(zip(*(firsts.entries(name) for name in names), strict=True))

    def _rank(self, name: str) -> Integers:
        """[N] integers that are equal where the values of a field are, and in their order."""
        if name not in self._ranks:
            self._ranks[name] = _ranks(self._columns[name])
        return self._ranks[name][self._places]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            return self.pick(index)
        place = self._places[index]
        return Row(**{name: _entry(name, self._columns[name][place]) for name in COLUMNS})

    def __iter__(self) -> Iterator[Row]:
        if self._made is None:
            lines = zip(*(self.entries(name) for name in COLUMNS), strict=True)
            self._made = [Row(**dict(zip(COLUMNS, line, strict=True))) for line in lines]
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def _entry(name: str, value: Any) -> Any:
    """One entry of a column, as the row has it."""
    kind, optional = KINDS[name]
    plain = value.item() if isinstance(value, np.generic) else value
    if optional and kind in (int, float):
        return kind(plain) if plain == plain else None  # NaN alone differs from itself
    return plain


def _some_agree(ranks: Sequence[Integers], order: Column) -> bool:
    """Whether two entries agree in all ranks, where `order` sorts by these."""
    return not np.any([np.diff(rank[order]) != 0 for rank in ranks], axis=0).all()


def as_column(name: str, entries: Sequence[Any]) -> Column:
    """[N] values of one field: int64, float64 with NaN for None, bool, or objects where it holds none of these."""
    kind, optional = KINDS[name]
    if kind is bool:
        return np.array(entries, dtype=bool)
    if kind not in (int, float):
        return np.fromiter(entries, dtype=object, count=len(entries))
    return np.array(entries, dtype=float if optional else kind)


def _ranks(column: Column) -> Integers:
    """[N] the place of each value among the distinct ones in ascending order."""
    if column.dtype != object:
        return np.asarray(np.unique(column, return_inverse=True)[1], dtype=np.int64)
    texts = column.tolist()  # few distinct texts: to sort those is faster than to sort them all
    ranks = {value: rank for rank, value in enumerate(sorted(set(texts), key=lambda text: (text is not None, text)))}
    if len(ranks) < 2:
        return np.zeros(len(texts), dtype=np.int64)
    return np.fromiter(map(ranks.__getitem__, texts), dtype=np.int64, count=len(texts))
