"""Run directories with damage: other bytes, other values, other tables, another study."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz import odd
from tests.report import factory

RECORDS = ("not json", "[]", "3", "null", '{"started": []}', '{"started": 5, "command": 3}', "[" * 10**5, "",
           '{"command": ["a", {"b": []}], "machine": null}', b"\xff\xfe", None, 5, '"x"', '{"a": 1e999}')  # fmt: skip
CELLS: tuple[Any, ...] = (
    None, 0, -1, 1, 2**62, 10**18, 1e308, -1e308, 1e999, 0.5, "", "x", "nan", "-", b"", b"\xff\x00", "\0", "\x1b[2J",
    "x" * 10**5, "reached", "crashed", "final", "tune", "[]", "{}", "0x0", "1x28x28", "train_loss", "adam", "é",
)  # fmt: skip
STATEMENTS = (
    "DROP TABLE rows", "DROP TABLE evaluations", "DROP TABLE runs", "DELETE FROM rows", "DELETE FROM evaluations",
    "DELETE FROM rows WHERE key % 2", "ALTER TABLE rows DROP COLUMN batch_size", "ALTER TABLE rows DROP COLUMN outcome",
    "ALTER TABLE rows RENAME COLUMN depth TO deep", "ALTER TABLE rows RENAME TO lines", "PRAGMA user_version = 99",
    "PRAGMA user_version = -1", "ALTER TABLE rows ADD COLUMN surprise TEXT", "ALTER TABLE evaluations DROP COLUMN step",
    "CREATE TABLE other (x)", "UPDATE rows SET trial_id = key", "UPDATE rows SET study = 'another'",
    "UPDATE rows SET shape = CAST(x'ff' AS TEXT)", "UPDATE rows SET message = CAST(x'c328' AS TEXT) WHERE key = 1",
    "UPDATE evaluations SET epoch = -epoch", "UPDATE evaluations SET step = 1e300", "UPDATE evaluations SET trial = 1",
    "UPDATE rows SET depth = 'deep'", "UPDATE rows SET max_epochs = NULL", "UPDATE rows SET data_fingerprint = 'other'",
    "CREATE VIEW v AS SELECT * FROM rows", "ALTER TABLE runs RENAME COLUMN record TO other",
    "INSERT INTO evaluations SELECT trial, number + 1000000, epoch, step, train_loss, train_accuracy, "
    "heldout_accuracy, batch_size_bound, noise_scale, train_accuracy_running FROM evaluations",
)  # fmt: skip


def make_good(folder: Path) -> Path:
    """A whole run directory, to be copied and damaged."""
    from batchscope.running.store import Store
    from batchscope.studies import Study

    target, sizes = {"train_accuracy": 0.96}, [8, 32, 128]
    study = Study(name="quickstart", dataset="digits", shapes=[[1, 13], [3, 11]], batch_sizes=sizes, target=target)
    rows = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3)
    with Store(folder, (study,)) as store:
        store.add(rows)
        store.note_run({"started": "2018-12-03", "command": ["batchscope", "run"], "versions": "0"})
    return folder


def make(good: Path, folder: Path, chance: random.Random) -> None:
    """Copy a good directory and damage the copy."""
    shutil.copytree(good, folder)
    damage: Callable[[Path, random.Random], None] = chance.choice(
        (_bytes, _cell, _cell, _statement, _record, _study, _file)
    )
    damage(folder, chance)


def _bytes(folder: Path, chance: random.Random) -> None:
    path = folder / "results-1of1.sqlite"
    path.write_bytes(odd.bytes_of(path.read_bytes(), chance))


def _file(folder: Path, chance: random.Random) -> None:
    path = folder / "results-1of1.sqlite"
    how = chance.randrange(5)
    if how == 0:
        path.write_bytes(b"")
    elif how == 1:
        path.write_bytes(path.read_bytes()[: chance.randrange(100, path.stat().st_size)])
    elif how == 2:
        path.unlink()
        path.mkdir()
    elif how == 3:
        (folder / "results-2of3.sqlite").write_bytes(chance.randbytes(5000))
    else:
        (folder / "results-1of1.sqlite-journal").write_bytes(chance.randbytes(5000))


def _cell(folder: Path, chance: random.Random) -> None:
    with _opened(folder) as file:
        for _ in range(chance.randint(1, 3)):
            table = chance.choice(("rows", "rows", "evaluations"))
            columns = [line[1] for line in file.execute(f"PRAGMA table_info({table})")]
            which = "" if chance.random() < 0.4 else " WHERE key = 2" if table == "rows" else " WHERE trial = 2"
            _execute(file, f'UPDATE {table} SET "{chance.choice(columns)}" = ?{which}', [chance.choice(CELLS)])


def _statement(folder: Path, chance: random.Random) -> None:
    with _opened(folder) as file:
        _execute(file, chance.choice(STATEMENTS))


def _record(folder: Path, chance: random.Random) -> None:
    with _opened(folder) as file:
        _execute(file, "INSERT INTO runs VALUES (?)", [chance.choice(RECORDS)])


def _study(folder: Path, chance: random.Random) -> None:
    path = folder / "study.toml"
    path.write_bytes(odd.bytes_of(path.read_bytes(), chance))


@contextlib.contextmanager
def _opened(folder: Path) -> Any:
    with contextlib.closing(sqlite3.connect(folder / "results-1of1.sqlite")) as file:
        yield file
        file.commit()


def _execute(file: sqlite3.Connection, statement: str, values: Any = ()) -> None:
    with contextlib.suppress(sqlite3.Error):  # what SQLite itself refuses is no damage
        file.execute(statement, values)
