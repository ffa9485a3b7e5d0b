"""Packed results files: read as they are, unpacked by the run that goes on in them, and damage is named."""

from __future__ import annotations

import contextlib
import gzip
import os
import sqlite3
from pathlib import Path

import pytest

from batchscope.errors import StoreError
from batchscope.records.packed import connected, files_of, pack, unpack
from batchscope.records.row import Evaluation
from batchscope.running.store import Shard, Store
from batchscope.studies import read
from tests.report import factory
from tests.studies.common import make_study

PLAIN, PACKED = "results-1of1.sqlite", "results-1of1.sqlite.gz"


def kept(directory, seeds, shard=None):
    """Keep a row of each seed in a run directory; return its file."""
    study = make_study(num_seeds=9)
    history = tuple(Evaluation(float(epoch), epoch, 1 / (1 + epoch)) for epoch in range(50))
    with Store(directory, (study,), shard) as store:
        store.add([factory.row(study=study.name, trial_id=str(seed), seed=seed, history=history) for seed in seeds])
        store.note_run({"command": ["batchscope"], "started": f"with {list(seeds)}"})
    return store.path


def what_is_in(directory):
    found = read(directory)
    return [(row.trial_id, tuple(row.history)) for row in found.rows], found.runs


def test_a_packed_file_reads_as_the_plain_one_and_is_smaller(tmp_path):
    path = kept(tmp_path, range(5))
    before, size = what_is_in(tmp_path), path.stat().st_size
    assert pack(path) == tmp_path / PACKED
    assert files_of(tmp_path) == [tmp_path / PACKED]
    assert what_is_in(tmp_path) == before
    assert (tmp_path / PACKED).stat().st_size < size / 3


def test_the_same_rows_give_the_same_bytes(tmp_path):
    path = kept(tmp_path, range(3))
    content = pack(path).read_bytes()
    unpack(path)
    assert pack(path).read_bytes() == content


def test_a_run_goes_on_in_a_packed_directory_and_packs_it_again(tmp_path):
    pack(kept(tmp_path, range(3)))
    with Store(tmp_path, (make_study(num_seeds=9),)):
        assert files_of(tmp_path) == [tmp_path / PLAIN]
    kept(tmp_path, range(3, 6))
    assert files_of(tmp_path) == [tmp_path / PACKED]
    rows, runs = what_is_in(tmp_path)
    assert [trial for trial, _ in rows] == list("012345")
    assert len(runs) == 2


@pytest.mark.parametrize("damage", [lambda whole: b"no database at all" * 9, lambda whole: whole[:5000]])
def test_a_damaged_file_is_not_packed(tmp_path, damage):
    path = kept(tmp_path, range(3))
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"results-1of1.sqlite cannot be packed: .*; expected a whole SQLite file"):
        pack(path)
    assert path.read_bytes() == before
    assert files_of(tmp_path) == [path]


def test_a_file_that_somebody_gave_a_write_ahead_log_is_packed_with_what_is_in_it(tmp_path):
    path = kept(tmp_path, range(2))
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute('INSERT INTO runs VALUES (\'{"started": "in the log"}\')')
        other.commit()
        before = what_is_in(tmp_path)
        with pytest.raises(StoreError, match=r"cannot be packed: .*locked; expected that no other program"):
            pack(path)
        assert what_is_in(tmp_path) == before
    pack(path)
    assert {run["started"] for run in before[1]} == {"with [0, 1]", "in the log"}
    assert what_is_in(tmp_path) == before
    assert sorted(file.name for file in tmp_path.glob("results*")) == [PACKED]


def test_shards_are_packed_one_by_one(tmp_path):
    pack(kept(tmp_path, [1], Shard(1, 2)))
    kept(tmp_path, [2], Shard(2, 2))
    assert [path.name for path in files_of(tmp_path)] == ["results-1of2.sqlite.gz", "results-2of2.sqlite"]
    assert [row.seed for row in read(tmp_path).rows] == [1, 2]


def test_after_a_kill_in_the_middle_both_forms_are_read_as_one(tmp_path):
    path = kept(tmp_path, range(3))
    plain = path.read_bytes()
    pack(path)
    path.write_bytes(plain)
    kept(tmp_path, range(3, 5))
    assert [row.seed for row in read(tmp_path).rows] == list(range(5))
    assert len(files_of(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["cut", "other", "inside", "empty"])
def test_a_damaged_packed_file_is_named_with_the_remedy(tmp_path, damage):
    path = pack(kept(tmp_path, range(5)))
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "inside":
        path.write_bytes(gzip.compress(b"not a database" * 100))
    else:
        path.write_bytes(b"no gzip file" if damage == "other" else b"")
    for attempt in (read, lambda directory: Store(directory, (make_study(num_seeds=9),))):
        with pytest.raises(StoreError, match=r"results-1of1.sqlite.gz is damaged .*move it away"):
            attempt(tmp_path)
        assert path.exists()


def test_a_packed_file_that_is_gone_when_its_histories_are_asked_for_is_named(tmp_path):
    path = pack(kept(tmp_path, range(2)))
    rows = read(tmp_path).rows
    path.unlink()
    with pytest.raises(StoreError, match=r"results-1of1.sqlite.gz cannot be read"):
        tuple(rows[0].history)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among files")
@pytest.mark.parametrize("name", [PLAIN, PACKED])
def test_a_pipe_in_place_of_a_results_file_is_not_waited_on(tmp_path, name):
    kept(tmp_path, range(2)).unlink()
    os.mkfifo(tmp_path / name)
    for attempt in (read, lambda directory: Store(directory, (make_study(num_seeds=9),))):
        with pytest.raises(StoreError, match=r"cannot be (read|written): "):
            attempt(tmp_path)


def test_what_was_read_before_the_file_changed_its_form_is_read_in_the_other(tmp_path):
    path = kept(tmp_path, range(2))
    rows = read(tmp_path).rows
    pack(path)
    assert len(rows[0].history) == 50
    rows = read(tmp_path).rows
    unpack(path)
    assert len(rows[1].history) == 50


def test_a_file_that_changes_its_form_while_the_directory_is_listed_is_found(tmp_path, monkeypatch):
    path, glob = kept(tmp_path, range(2)), Path.glob
    for change in (pack, unpack):
        calls = []

        def globbing(self, pattern, calls=calls, change=change):
            found = list(glob(self, pattern))
            calls.append(pattern)
            if len(calls) == 1:
                change(path)
            return found

        monkeypatch.setattr(Path, "glob", globbing)
        assert files_of(tmp_path)
        monkeypatch.undo()


def test_nothing_is_packed_over_rows_that_are_packed_already(tmp_path):
    path = kept(tmp_path, range(2))
    plain = path.read_bytes()
    pack(path)
    path.write_bytes(plain)
    with pytest.raises(StoreError, match="is there already"):
        pack(path)
    assert len(read(tmp_path).runs) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_packed_file_that_cannot_be_read_is_named(tmp_path):
    path = pack(kept(tmp_path, range(2)))
    path.chmod(0)
    with pytest.raises(StoreError, match=r"results-1of1.sqlite.gz cannot be read"):
        Store(tmp_path, (make_study(num_seeds=9),))


def test_any_tool_reads_it_once_unpacked(tmp_path):
    path = kept(tmp_path, range(2))
    pack(path)
    unpack(path)
    unpack(path)
    assert sqlite3.connect(path).execute("SELECT count(*) FROM evaluations").fetchone() == (100,)
    assert connected(path).execute("SELECT count(*) FROM rows").fetchone() == (2,)
