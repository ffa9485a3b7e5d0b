"""Reading the results files of a run directory by columns. No torch."""

from __future__ import annotations

import contextlib
import gc
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from batchscope.errors import StoreError
from batchscope.records.codec import decode_all, sql_type
from batchscope.records.row import Outcome
from batchscope.records.rows import COLUMNS, Rows

CHUNK = 1000  # lines read at once: they fit the processor's cache
# Runs that are looked at together lie together: half of the time of an analysis of 10^5 rows is spent on finding them.
_SETTINGS = ("study", "depth", "width", "shape", "batch_size", "phase", "step_size", "seed", "trial_id")


def read_rows(directory: str | Path) -> Rows:
    """Return the rows of all writers in the order of their settings, one per (trial id, study).

    Where two writers hold the same trial, a finished row is preferred to a crashed one, then the first file's.
    """
    with _no_collection():
        rows = Rows.joined(_read_file(path) for path in sorted(Path(directory).glob("results-*.sqlite")))
        order = np.argsort(rows.column("outcome") == Outcome.CRASHED, kind="stable")
        trials = zip(*(rows.column(name)[order].tolist() for name in ("trial_id", "study")), strict=True)
        unique: dict[tuple[str, str], int] = {}
        for trial, index in zip(trials, order.tolist(), strict=True):
            unique.setdefault(trial, index)
        return rows.pick(np.array(list(unique.values()), dtype=np.int64)).in_order_of(*_SETTINGS)


def read_runs(directory: str | Path) -> tuple[dict[str, Any], ...]:
    """Return the records of all runs that wrote to a directory, the oldest first."""
    records = []
    for path in sorted(Path(directory).glob("results-*.sqlite")):
        with _reading(path) as file:
            pieces = _pieces(file, "runs", names_of(file, "runs"))
            records += [json.loads(record) for _, lines in pieces for (record,) in lines]
    return tuple(sorted(records, key=lambda record: str(record.get("started"))))


def _read_file(path: Path) -> Rows:
    try:
        with _reading(path) as file:
            names = [name for name in names_of(file, "rows") if name in COLUMNS]
            shared = _shared(file, names)
            return decode_all(_pieces(file, "rows", [name for name in names if name not in shared]), shared)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise corrupt(path, error) from None


def names_of(file: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table; none where a kill came before it was made."""
    return [line[1] for line in file.execute(f"PRAGMA table_info({table})")]


def _shared(file: sqlite3.Connection, names: Sequence[str]) -> dict[str, Any]:
    """Column -> the text that all rows have in it: the name of the data set need not be fetched 10^5 times."""
    labels = [name for name in names if sql_type(name) == "TEXT" and name not in ("trial_id", "message", "history")]
    if not labels:
        return {}
    found = file.execute(f"SELECT DISTINCT {', '.join(map(quoted, labels))} FROM rows LIMIT {CHUNK}").fetchall()
    texts = zip(labels, zip(*found, strict=True), strict=True) if 0 < len(found) < CHUNK else ()
    return {name: column[0] for name, column in texts if len(set(column)) == 1}


def _pieces(
    file: sqlite3.Connection, table: str, names: Sequence[str]
) -> Iterator[tuple[Sequence[str], list[tuple[Any, ...]]]]:
    """Yield (names of columns, lines) until all lines of a table came."""
    if names:
        cursor = file.execute(f"SELECT {', '.join(map(quoted, names))} FROM {table}")
        while lines := cursor.fetchmany(CHUNK):
            yield names, lines


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: it would walk the growing lists of lines and histories over and over."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A results file at one moment, whatever is written to it meanwhile."""
    try:
        # Not read-only: after a kill SQLite first rolls the half-written transaction back.
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as file:
            file.execute("BEGIN")
            yield file
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"{path} cannot be read: {error}; is it readable, and no other program writing to it?"
        ) from None
    except sqlite3.DatabaseError as error:
        raise corrupt(path, error) from None


def corrupt(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} is damaged ({error}); move it away and run again: only the trials it held are repeated")


def quoted(column: str) -> str:
    return f'"{column}"'  # `commit` is a word of SQL
