"""A results file opened for writing: its tables, and how a file of an earlier version is brought up to date. No torch.

rows: one line per trial, its `key` being what `evaluations.trial` refers to. evaluations: one line per check of the
target, numbered from 0 in each trial. runs: one line of JSON per call of `run`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from batchscope.errors import StoreError
from batchscope.records.codec import ABSENT, encode, sql_type
from batchscope.records.histories import finite, from_json
from batchscope.records.reading import Recalled, corrupt, explained, is_of_access, names_of, nothing_recalled, quoted
from batchscope.records.row import Evaluation, Row
from batchscope.records.rows import COLUMNS

# Raise it when a file of this version cannot be read by the code of the version before.
FORMAT = 2
STORED = tuple(name for name in COLUMNS if name != "history")

_KINDS = {name: "INTEGER" if hint is int else "REAL" for name, hint in typing.get_type_hints(Evaluation).items()}
_INSERT = f"INSERT INTO evaluations (trial, number, {', '.join(_KINDS)}) VALUES (?, ?{', ?' * len(_KINDS)})"


def open_file(path: Path, recalled: Recalled = nothing_recalled) -> sqlite3.Connection:
    """Open a results file, made where there is none and brought up to date where an earlier version wrote it.

    recalled: what fields are that an earlier version did not record. A kill at any moment leaves the file as it was.
    Raises StoreError for a file that is damaged or of a later version, sqlite3.OperationalError where it cannot be
    written.
    """
    try:
        file = sqlite3.connect(path, timeout=60, isolation_level=None)  # transactions begin where they are written
        with contextlib.ExitStack() as unless_opened:
            unless_opened.callback(file.close)
            # A rollback journal with full synchronisation survives a kill at any moment, leaves a single file behind
            # and, unlike a write-ahead log, needs no shared memory: network file systems are safe.
            file.execute("PRAGMA journal_mode = DELETE")
            file.execute("PRAGMA synchronous = FULL")
            with explained(path), writing(file):
                _bring_up_to_date(path, file, recalled)
            unless_opened.pop_all()
            return file
    except sqlite3.DatabaseError as error:
        if is_of_access(error):
            raise
        raise corrupt(path, error) from None


@contextlib.contextmanager
def writing(file: sqlite3.Connection) -> Iterator[None]:
    """One transaction: a kill or an error inside leaves the file as it was."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have done so itself, as on a full disk
            file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def insert(file: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add rows with their evaluations, in place of those of the same (trial id, study)."""
    marks = ", ".join("?" * len(STORED))
    query = f"INSERT INTO rows ({', '.join(map(quoted, STORED))}) VALUES ({marks})"
    for row in rows:
        _remove(file, row.trial_id, row.study)
        values = encode(row, history=False)
        key = file.execute(query, [values[name] for name in STORED]).lastrowid
        file.executemany(_INSERT, _lines(key, row.history))


def _remove(file: sqlite3.Connection, trial_id: str, study: str) -> None:
    for (key,) in file.execute("SELECT key FROM rows WHERE trial_id = ? AND study = ?", [trial_id, study]).fetchall():
        file.execute("DELETE FROM evaluations WHERE trial = ?", [key])
        file.execute("DELETE FROM rows WHERE key = ?", [key])


def _lines(key: int | None, history: Sequence[Evaluation]) -> Iterator[tuple[Any, ...]]:
    for number, evaluation in enumerate(history):
        yield key, number, *map(finite, astuple(evaluation))


def _bring_up_to_date(path: Path, file: sqlite3.Connection, recalled: Recalled) -> None:
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise StoreError(
            f"{path} was written by a later version of batchscope (format {version}, known up to {FORMAT}); upgrade"
        )
    names = names_of(file, "rows")
    if "history" in names:
        _from_texts(file, names)
    _create(file)
    for name in _KINDS.keys() - set(names_of(file, "evaluations")):
        file.execute(f"ALTER TABLE evaluations ADD COLUMN {name} {_KINDS[name]}")
    _add_columns(file, recalled)
    if version != FORMAT:
        file.execute(f"PRAGMA user_version = {FORMAT}")


def _create(file: sqlite3.Connection, names: Sequence[str] = STORED) -> None:
    columns = ", ".join(f"{quoted(name)} {sql_type(name)}" for name in names)
    numbers = ", ".join(f"{name} {kind}" for name, kind in _KINDS.items())
    # AUTOINCREMENT: the key of a row that was replaced is never another's.
    file.execute(
        f"CREATE TABLE IF NOT EXISTS rows (key INTEGER PRIMARY KEY AUTOINCREMENT, {columns}, UNIQUE (trial_id, study))"
    )
    file.execute(
        f"CREATE TABLE IF NOT EXISTS evaluations (trial INTEGER, number INTEGER, {numbers}, "
        "PRIMARY KEY (trial, number)) WITHOUT ROWID"
    )
    file.execute("CREATE TABLE IF NOT EXISTS runs (record TEXT)")


def _from_texts(file: sqlite3.Connection, names: Sequence[str]) -> None:
    """From a table of rows that holds each history as a text: the same rows, and a table of evaluations."""
    file.execute("ALTER TABLE rows RENAME TO earlier")
    kept = [name for name in names if name in STORED]
    listed = ", ".join(map(quoted, kept))
    _create(file, kept)
    file.execute(f"INSERT INTO rows (key, {listed}) SELECT rowid, {listed} FROM earlier ORDER BY rowid")
    for key, text in file.execute("SELECT rowid, history FROM earlier ORDER BY rowid"):
        file.executemany(_INSERT, _lines(key, from_json(text)))
    file.execute("DROP TABLE earlier")


def _add_columns(file: sqlite3.Connection, recalled: Recalled) -> None:
    """Columns that came later, with what they must have been in the rows there are."""
    known = names_of(file, "rows")
    missing = [name for name in STORED if name not in known]
    for name in missing:
        file.execute(f"ALTER TABLE rows ADD COLUMN {quoted(name)} {sql_type(name)}")
    if not missing:
        return
    for study, phase in file.execute("SELECT DISTINCT study, phase FROM rows").fetchall():
        values = recalled(study, phase)
        chosen = [values.get(name, ABSENT.get(name)) for name in missing]
        sets = ", ".join(f"{quoted(name)} = ?" for name in missing)
        file.execute(f"UPDATE rows SET {sets} WHERE study = ? AND phase = ?", [*chosen, study, phase])
