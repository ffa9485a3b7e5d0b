"""A run directory of an earlier version: read as it is, brought up to date when it is written to, losing nothing.

earlier/ was written by the code of November 2026, which kept histories as JSON texts and recorded fewer fields: two
studies (linear, and tanh with momentum), with diverged runs and widened grids; rows.json is its own export.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import batchscope as bs
from batchscope.errors import StoreError
from batchscope.records import database
from batchscope.records.codec import encode
from batchscope.records.histories import columns
from batchscope.records.reading import names_of
from batchscope.records.row import Row
from batchscope.running.store import Store
from batchscope.studies import read, read_studies

EARLIER = Path(__file__).parent / "earlier"
EXPORT = {(row["trial_id"], row["study"]): row for row in json.loads((EARLIER / "rows.json").read_text())}
FILE = "results-1of1.sqlite"


@pytest.fixture
def directory(tmp_path) -> Path:
    return Path(shutil.copytree(EARLIER, tmp_path / "run"))


def as_exported(row: dict[str, object], before: dict[str, object]) -> dict[str, object]:
    """The columns, and the fields of evaluations, that there were."""
    fields = json.loads(str(before["history"]))
    history = {name: values for name, values in json.loads(str(row["history"])).items() if name in fields}
    return {name: row[name] for name in before} | {"history": json.dumps(history, separators=(",", ":"))}


def same_as_before(directory: Path) -> None:
    rows = read(directory).rows
    found = {(row.trial_id, row.study): encode(row) for row in rows}
    assert {key: as_exported(row, EXPORT[key]) for key, row in found.items()} == EXPORT
    by_study = {row.study: row for row in rows if row.phase == "final"}
    linear, tanh = by_study["old-linear"], by_study["old-tanh"]
    assert (linear.activation, linear.bias, linear.norm, linear.filters) == ("linear", True, "", 0)
    assert (tanh.activation, tanh.momentum, tanh.diversity_every, tanh.augmentation) == ("tanh", 0.5, 1, "none")
    assert (linear.diversity_every, tanh.batchnorm_shares, tanh.input_shape) == (2, 1, None)
    stops = {(row.protocol, row.phase): row.stop_at_target for row in rows}
    assert stops == {
        ("tuned", "tune"): True,
        ("tuned", "final"): True,
        ("paper2018", "tune"): False,
        ("paper2018", "final"): True,
    }
    assert {row.diversity_every for row in rows if row.phase == "tune"} == {0}


def test_it_is_read_as_it_is_and_not_changed(directory):
    before = (directory / FILE).read_bytes()
    same_as_before(directory)
    assert (directory / FILE).read_bytes() == before


def test_it_is_brought_up_to_date_without_loss(directory):
    as_it_was = list(read(directory).rows)
    Store(directory, read_studies(directory / "study.toml")).close()
    same_as_before(directory)
    assert list(read(directory).rows) == as_it_was
    file = sqlite3.connect(directory / FILE)
    tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"sqlite_sequence"} == {"rows", "evaluations", "runs"}
    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert file.execute("PRAGMA user_version").fetchone() == (database.FORMAT,)
    again = (directory / FILE).read_bytes()
    Store(directory, read_studies(directory / "study.toml")).close()
    assert (directory / FILE).read_bytes() == again


def test_a_study_goes_on_where_it_was(directory):
    """All trials are known by their identities: nothing is trained again."""
    results = bs.run(read_studies(directory / "study.toml"), directory, executor="inline")
    assert len(results.rows) == len(EXPORT)
    assert {row.versions for row in results.rows} == {row["versions"] for row in EXPORT.values()}
    same_as_before(directory)


KILLED = """
import os, signal, sys
from batchscope.records import database
from batchscope.running.store import Store
from batchscope.studies import read_studies
wanted, seen = int(sys.argv[2]), 0
lines = database._lines
def counted(*arguments):
    global seen
    seen += 1
    if seen == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    return lines(*arguments)
database._lines = counted
Store(sys.argv[1], read_studies(sys.argv[1] + "/study.toml"))
"""


@pytest.mark.parametrize("moment", [1, 13, len(EXPORT)])
def test_a_kill_while_it_is_brought_up_to_date_loses_nothing(directory, moment):
    done = subprocess.run([sys.executable, "-c", KILLED, str(directory), str(moment)], env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    same_as_before(directory)
    Store(directory, read_studies(directory / "study.toml")).close()
    same_as_before(directory)


def test_a_damaged_history_is_named_and_the_file_left_as_it_was(directory):
    file = sqlite3.connect(directory / FILE)
    with file:
        file.execute("UPDATE rows SET history = '{' WHERE rowid = 3")
    file.close()
    before = (directory / FILE).read_bytes()
    with pytest.raises(StoreError, match=r"is damaged .*move it away"):
        Store(directory, read_studies(directory / "study.toml"))
    assert (directory / FILE).read_bytes() == before
    rows = read(directory).rows
    with pytest.raises(StoreError, match=r"is damaged .*move it away"):
        list(rows[0].history)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE evaluations SET train_loss = 'abc' WHERE trial = 3",
        "UPDATE evaluations SET step = NULL WHERE trial = 3",
        "UPDATE rows SET outcome = 'nonsense' WHERE key = 2",
        "DROP TABLE evaluations",
    ],
)
def test_damaged_tables_are_named(directory, damage):
    Store(directory, read_studies(directory / "study.toml")).close()
    file = sqlite3.connect(directory / FILE)
    with file:
        file.execute(damage)
    file.close()
    with pytest.raises(StoreError, match=rf"{FILE} (is damaged|cannot be read)"):
        [tuple(row.history) for row in read(directory).rows]


def test_a_row_replaced_after_reading_leaves_the_others_whole(directory):
    """Rows that were read before another run replaced one of them."""
    with Store(directory, read_studies(directory / "study.toml")) as store:
        before = read(directory).rows
        expected = [tuple(row.history) for row in read(directory).rows]
        store.add([before[0]])
        found = [tuple(row.history) for row in before]
    assert found[1:] == expected[1:]
    assert [tuple(row.history) for row in read(directory).rows] == expected


def test_fields_read_before_and_after_a_change_are_not_mixed(directory):
    """What analyses ask is read in one go, the rest when it is asked for."""
    with Store(directory, read_studies(directory / "study.toml")) as store:
        before = read(directory).rows.entries("history")
        expected = columns(read(directory).rows.entries("history"), "epoch")
        np.testing.assert_array_equal(columns(before, "epoch"), expected)
        store.add([read(directory).rows[0]])
        with pytest.raises(StoreError, match="changed while it was read"):
            columns(before, "heldout_accuracy")
        np.testing.assert_array_equal(columns(before, "step"), columns(read(directory).rows.entries("history"), "step"))


def test_a_file_of_a_later_version_is_refused(directory):
    Store(directory, read_studies(directory / "study.toml")).close()
    file = sqlite3.connect(directory / FILE)
    file.execute(f"PRAGMA user_version = {database.FORMAT + 1}")
    file.close()
    with pytest.raises(StoreError, match="later version of batchscope"):
        Store(directory, read_studies(directory / "study.toml"))


def test_rows_of_a_study_that_is_no_longer_there_take_the_defaults(directory):
    (only,) = (study for study in read_studies(directory / "study.toml") if study.name == "old-linear")
    (directory / "study.toml").write_text(only.to_toml())
    database.open_file(directory / FILE).close()
    rows: list[Row] = list(read(directory).rows)
    assert {row.study for row in rows} == {"old-linear"}
    assert {(row.activation, row.augmentation) for row in rows} == {("", "none")}


def test_evaluations_of_a_file_with_fewer_fields_are_read_and_go_on(directory):
    """As the first stores with a table of evaluations: the accuracy over mini-batches came later."""
    Store(directory, read_studies(directory / "study.toml")).close()
    with sqlite3.connect(directory / FILE) as file:
        file.execute("ALTER TABLE evaluations DROP COLUMN train_accuracy_running")
    same_as_before(directory)
    Store(directory, read_studies(directory / "study.toml")).close()
    same_as_before(directory)
    assert "train_accuracy_running" in names_of(sqlite3.connect(directory / FILE), "evaluations")
