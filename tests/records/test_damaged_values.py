"""Values that no run has written are named as damage of the file, by every command alike."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from batchscope.cli.main import main
from batchscope.running.store import Store
from tests.report import factory
from tests.report.small_study import study

DAMAGES = {
    "a record that is no JSON": ("INSERT INTO runs VALUES ('not json')", "is damaged"),
    "a record that is no object": ("INSERT INTO runs VALUES ('[3]')", "no JSON object"),
    "a record of 10^5 brackets": (f"INSERT INTO runs VALUES ('{'[' * 10**5}')", "is damaged"),
    "a record without a text": ("INSERT INTO runs VALUES (NULL)", "no JSON object"),
    "a record with objects in it": ("""INSERT INTO runs VALUES ('{"command": [{}]}')""", "neither a text nor a number"),
    "an unknown metric": ("UPDATE rows SET target_metric = 'speed' WHERE key = 2", "target_metric = speed"),
    "a metric that is none": ("UPDATE rows SET target_metric = NULL", "target_metric"),
    "text that is no UTF-8": ("UPDATE rows SET shape = CAST(x'c328' AS TEXT) WHERE key = 2", "is damaged"),
    "bytes for a text": ("UPDATE rows SET device = x'ff00' WHERE key = 2", "is damaged"),
    "a batch size below 0": ("UPDATE rows SET batch_size = -8 WHERE key = 2", "batch_size = -8"),
    "a width beyond 64 bits": ("UPDATE rows SET width = 1e300 WHERE key = 2", "is damaged"),
    "an infinite step size": ("UPDATE rows SET step_size = 9e999", "step_size = inf"),
    "epochs without end": ("UPDATE rows SET epochs_run = 9e999 WHERE key = 2", "epochs_run = inf"),
    "reached at no epoch": ("UPDATE rows SET epochs_to_target = NULL WHERE outcome = 'reached'", "epochs_to_target"),
    "reached in no step": ("UPDATE rows SET steps_to_target = 0 WHERE outcome = 'reached'", "steps_to_target = 0"),
    "an option out of range": ("UPDATE rows SET momentum = -3", "momentum = -3"),
    "a text without end": (f"UPDATE rows SET shape = '{'x' * 10**5}'", "shape is a text of 100000 characters"),
    "a column gone": ("ALTER TABLE rows DROP COLUMN batch_size", "batch_size"),
    "a long text for a number": (f"UPDATE rows SET seed = '{'x' * 10**5}'", "is damaged"),
}
OF_HISTORIES = {
    "a table gone": "DROP TABLE evaluations",
    "steps that go back": "UPDATE evaluations SET step = 100 - number",
    "epochs below 0": "UPDATE evaluations SET epoch = -1.0 WHERE number = 1",
    "infinite steps": "UPDATE evaluations SET step = 9e999",
}
COMMANDS = {
    "report": ("report", "DIR"),
    "export": ("export", "DIR", "DIR/rows.json"),
    "run": ("run", "DIR/study.toml", "--out", "DIR", "--executor", "inline", "--device", "cpu"),
    "advise": ("advise", "DIR", "--flops", "1e9"),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with Store(tmp_path, (study(),)) as store:
        store.add(factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3))
        store.note_run({"started": "2018-12-03"})
    return tmp_path


def damaged(directory: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(directory / "results-1of1.sqlite")) as file:
        file.execute(statement)
        file.commit()


def refused(directory: Path, command: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = [word.replace("DIR", str(directory)) for word in COMMANDS[command]]
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    assert len(err) < 1000
    assert json.loads(out)["kind"] == "StoreError"
    return err


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_by_every_command_alike(directory, damage, capsys, monkeypatch):
    monkeypatch.setattr("batchscope.running.executors.inline.InlineExecutor._perform", pytest.fail)
    statement, message = DAMAGES[damage]
    damaged(directory, statement)
    said = {command: refused(directory, command, capsys) for command in COMMANDS if _reads(command, damage)}
    for command, err in said.items():
        assert "results-1of1.sqlite is damaged" in err
        assert message in err, command
    assert len({err.partition(": ")[2] for err in said.values()}) == 1


def _reads(command: str, damage: str) -> bool:
    """`run` adds columns that are not there, as those of earlier versions."""
    return command != "run" or damage != "a column gone"


@pytest.mark.parametrize("damage", OF_HISTORIES)
def test_a_history_that_no_run_has_written_is_named_where_it_is_read(directory, damage, capsys):
    damaged(directory, OF_HISTORIES[damage])
    assert "results-1of1.sqlite is damaged" in refused(directory, "export", capsys)


def test_a_good_directory_passes(directory, capsys):
    for command in ("report", "export", "advise"):
        assert main([word.replace("DIR", str(directory)) for word in COMMANDS[command]]) == 0
    capsys.readouterr()
