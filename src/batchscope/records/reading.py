"""Reading the results files of a run directory by columns, those of earlier versions too. No torch."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from batchscope.errors import BatchscopeError, StoreError
from batchscope.options import OPTIONS
from batchscope.records.codec import ABSENT, decode_all, sql_type
from batchscope.records.histories import (
    FIELDS,
    EvaluationTable,
    GivenEvaluations,
    History,
    Integers,
    Numbers,
    from_json,
)
from batchscope.records.packed import connected, files_of
from batchscope.records.plausible import check_evaluations, check_rows
from batchscope.records.row import Outcome
from batchscope.records.rows import COLUMNS, Column, Rows, as_column

# SQLite's codes (https://www.sqlite.org/rescode.html) for what has nothing to do with a file's content.
_ACCESS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
CHUNK = 1000  # lines read at once: they fit the processor's cache
# Runs that are looked at together lie together: half of the time of an analysis of 10^5 rows is spent on finding them.
_SETTINGS = ("study", "depth", "width", "shape", "batch_size", "phase", "step_size", "seed", "trial_id")

# What analyses ask of evaluations; the rest is asked for with whole evaluations.
ANALYSED = ("epoch", "step", "train_loss", "train_accuracy", "batch_size_bound")

# What fields are that results of earlier versions lack: (study, phase) -> field -> value.
Recalled: TypeAlias = Callable[[str, str], Mapping[str, Any]]


def nothing_recalled(study: str, phase: str) -> Mapping[str, Any]:
    """Every field that earlier versions did not record takes its default."""
    del study, phase
    return {}


def read_rows(directory: str | Path, recalled: Recalled = nothing_recalled) -> Rows:
    """Return the rows of all writers in the order of their settings, one per (trial id, study).

    Where two writers hold the same trial, a finished row is preferred to a crashed one, then the first file's. Files
    are not changed; evaluations are read when they are looked at. recalled: what fields are that earlier versions did
    not record. Raises StoreError for a file that is damaged or cannot be read.
    """
    rows = Rows.joined(_read_file(path, recalled) for path in files_of(directory))
    order = np.argsort(rows.column("outcome") == Outcome.CRASHED, kind="stable")
    trials = zip(*(rows.column(name)[order].tolist() for name in ("trial_id", "study")), strict=True)
    unique: dict[tuple[str, str], int] = {}
    for trial, index in zip(trials, order.tolist(), strict=True):
        unique.setdefault(trial, index)
    return rows.pick(np.array(list(unique.values()), dtype=np.int64)).in_order_of(*_SETTINGS)


def read_runs(directory: str | Path) -> tuple[dict[str, Any], ...]:
    """Return the records of all runs that wrote to a directory, the oldest first."""
    texts: dict[Any, Any] = {}  # one that lies in both forms of a file counts once
    for path in files_of(directory):
        with explained(path), reading(path) as file:
            pieces = _pieces(file, "runs", names_of(file, "runs"))
            texts |= {text: _record(text) for _, lines in pieces for (text,) in lines}
    return tuple(sorted(texts.values(), key=lambda record: str(record.get("started"))))


def _record(text: Any) -> dict[str, Any]:
    """A record of a call of `run`: a flat JSON object, with lists of texts at most."""
    found = json.loads(text) if isinstance(text, str) else None
    if not isinstance(found, dict):
        raise ValueError(f"a record of a run is {str(text)[:50]!r}, no JSON object")
    for name, value in found.items():
        parts = value if isinstance(value, list) else [value]
        if not all(part is None or isinstance(part, str | int | float) for part in parts):
            raise ValueError(f"{name[:50]!r} in a record of a run is neither a text nor a number")
    return found


class StoredEvaluations(EvaluationTable):
    """The evaluations of the runs of a results file, read when they are first asked for.

    keys: [N] of the runs, ascending. Raises StoreError, when asked, for a file that is damaged or gone.
    """

    def __init__(self, path: Path, keys: Integers) -> None:
        super().__init__()
        self._path, self._keys = path, keys
        self._analysed: EvaluationTable | None = None
        self._others: EvaluationTable | None = None

    def load_lengths(self) -> Integers:
        """[N] read from the file."""
        return np.diff(self._of_analyses().starts)

    def load(self, name: str) -> Numbers:
        """One field of all, read from the file."""
        first = self._of_analyses()
        if name in ANALYSED or isinstance(first, GivenEvaluations):
            return first.column(name)
        return self._of_others(np.diff(first.starts)).column(name)

    def _of_analyses(self) -> EvaluationTable:
        """What analyses ask, in one go: to step through the lines takes longer than to take more of each."""
        if self._analysed is None:
            with explained(self._path), reading(self._path) as file:
                if "history" in names_of(file, "rows"):  # of an earlier version, which kept them as texts, with all
                    texts = dict(file.execute("SELECT rowid, history FROM rows"))
                    self._analysed = GivenEvaluations([from_json(texts[key]) for key in self._keys.tolist()])
                else:
                    self._analysed = self._loaded_from(file, ANALYSED)
        return self._analysed

    def _of_others(self, lengths: Integers) -> EvaluationTable:
        """The other fields, of runs that had so many evaluations when the first were read."""
        if self._others is None:
            with explained(self._path), reading(self._path) as file:
                found = self._loaded_from(file, [name for name in FIELDS if name not in ANALYSED])
            if not np.array_equal(found.load_lengths(), lengths):
                raise StoreError(f"{self._path} was changed while it was read: read it again")
            self._others = found
        return self._others

    def _loaded_from(self, file: sqlite3.Connection, names: Sequence[str]) -> LoadedEvaluations:
        return LoadedEvaluations(self._keys, *_numbers(file, int(self._keys.max(initial=0)), names))


class LoadedEvaluations(EvaluationTable):
    """The evaluations of the runs with these keys, ascending, among those of all trials, one per line.

    trials: [lines] the key of each line, ascending. numbers: field -> [lines]. Runs without a line have none.
    """

    def __init__(self, keys: Integers, trials: Integers, numbers: Mapping[str, Numbers]) -> None:
        super().__init__()
        first, last = np.searchsorted(trials, keys, "left"), np.searchsorted(trials, keys, "right")
        self._lengths = last - first
        others = self._lengths.sum() < len(trials)  # of rows that were added or replaced since
        self._numbers = {name: column[np.isin(trials, keys)] for name, column in numbers.items()} if others else numbers

    def load_lengths(self) -> Integers:
        """[N] how many lines each has."""
        return self._lengths

    def load(self, name: str) -> Numbers:
        """One field of all lines."""
        return self._numbers[name]


def _numbers(file: sqlite3.Connection, last: int, names: Sequence[str]) -> tuple[Integers, Mapping[str, Numbers]]:
    """([lines] the key of the trial, field -> [lines]) up to the last trial there was, in the order of the keys."""
    known = names_of(file, "evaluations")  # an earlier version had fewer fields
    fields = ", ".join(name if name in known else "NULL" for name in names)
    query = f"SELECT trial, {fields} FROM evaluations WHERE trial <= ? ORDER BY trial, number"
    values = itertools.chain.from_iterable(file.execute(query, [last]))
    table = np.fromiter(values, dtype=float).reshape(-1, 1 + len(names)).T  # NULL becomes NaN
    numbers = dict(zip(names, np.ascontiguousarray(table[1:]), strict=True))
    trials = table[0].astype(np.int64)
    if "epoch" in numbers:
        check_evaluations(trials, numbers)
    return trials, numbers


def _read_file(path: Path, recalled: Recalled) -> Rows:
    with explained(path), reading(path) as file:
        names = [name for name in names_of(file, "rows") if name in COLUMNS and name != "history"]
        if not names:
            return Rows.of(())
        shared = _shared(file, names)
        found = itertools.chain.from_iterable(file.execute("SELECT rowid FROM rows ORDER BY rowid"))
        keys = np.fromiter(found, dtype=np.int64)
        pieces = _pieces(file, "rows", [name for name in names if name not in shared])
        rows = decode_all(pieces, shared)
        check_rows(rows)
    table = StoredEvaluations(path, keys)
    columns = {name: rows.column(name) for name in COLUMNS if name != "history"}
    columns["history"] = as_column("history", [History(table, run) for run in range(len(keys))])
    return Rows(columns | _recall(rows, recalled, [name for name in ABSENT if name not in (*names, "history")]))


def _recall(rows: Rows, recalled: Recalled, names: Sequence[str]) -> dict[str, Column]:
    """Fields that a file lacks, as they must have been."""
    found = {name: rows.entries(name) for name in names}
    if not names:
        return {}
    studies, phases = rows.column("study"), rows.column("phase")
    for study, phase in rows.distinct("study", "phase"):
        values = recalled(study, phase)
        for place in np.flatnonzero((studies == study) & (phases == phase)).tolist():
            for name in names:
                found[name][place] = values.get(name, found[name][place])
    return {name: as_column(name, entries) for name, entries in found.items()}


def names_of(file: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table; none where a kill came before it was made."""
    return [line[1] for line in file.execute(f"PRAGMA table_info({table})")]


def _shared(file: sqlite3.Connection, names: Sequence[str]) -> dict[str, Any]:
    """Column -> the text or option that all rows share: the name of the data set need not be fetched 10^5 times."""
    texts = {name for name in names if sql_type(name) == "TEXT"} - {"trial_id", "message"}
    labels = [name for name in names if name in texts or name in OPTIONS]
    if not labels:
        return {}
    found = file.execute(f"SELECT DISTINCT {', '.join(map(quoted, labels))} FROM rows LIMIT {CHUNK}").fetchall()
    values = zip(labels, zip(*found, strict=True), strict=True) if 0 < len(found) < CHUNK else ()
    return {name: column[0] for name, column in values if len(set(column)) == 1}


def _pieces(
    file: sqlite3.Connection, table: str, names: Sequence[str]
) -> Iterator[tuple[Sequence[str], list[tuple[Any, ...]]]]:
    """Yield (names of columns, lines), in the order of the lines' keys, until all lines of a table came."""
    if names:
        cursor = file.execute(f"SELECT {', '.join(map(quoted, names))} FROM {table} ORDER BY rowid")
        while lines := cursor.fetchmany(CHUNK):
            yield names, lines


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A results file at one moment, whatever is written to it meanwhile."""
    try:
        with contextlib.closing(connected(path)) as file:
            file.execute("BEGIN")
            yield file
    except (OSError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.Error) and not is_of_access(error):
            raise corrupt(path, error) from None
        raise StoreError(
            f"{path} cannot be read: {error}; is it readable, and no other program writing to it?"
        ) from None


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """What is wrong with the content of a file becomes an error that names the file and the remedy."""
    try:
        yield
    except BatchscopeError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise corrupt(path, error) from None


def is_of_access(error: sqlite3.Error) -> bool:
    """Whether a file could not be opened, read or written; else its content is not what it should be."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _ACCESS


def corrupt(path: Path, error: Exception) -> StoreError:
    """Return the error to raise for a file that is damaged."""
    return StoreError(
        f"{path} is damaged ({str(error)[:200]}); move it away and run again: only the trials it held are repeated"
    )


def quoted(column: str) -> str:
    """A column's name as SQL takes it: `commit` is a word of SQL."""
    return f'"{column}"'
