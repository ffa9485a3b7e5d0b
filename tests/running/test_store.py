"""The run directory: nothing lost, nothing half-written, nobody in each other's way."""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.errors import InputError, StoreError
from batchscope.records.codec import decode, encode
from batchscope.records.reading import read_rows
from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.running.store import Shard, Store
from batchscope.running.trained import rows_of
from batchscope.studies import read
from batchscope.studies.plan import cells
from batchscope.studies.protocols import next_cohorts
from batchscope.training.settings import MemberResult
from tests.report import factory
from tests.studies.common import make_study


@pytest.fixture
def rows(study, data) -> tuple[Row, ...]:
    """The rows of one tuning cohort."""
    (grid,) = next_cohorts(study, cells(study, data)[0], {})
    history = (Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, 0.5, 0.25, math.nan, 3.5))
    results = [MemberResult(member, Outcome.CENSORED, None, None, history) for member in grid.members]
    return rows_of(study, grid, results, 2.0, "cpu")


def same(a: Row, b: Row) -> bool:
    return repr(a) == repr(b) and repr(a.history) == repr(b.history)  # NaN equals NaN


def test_rows_come_back_as_they_went_in(tmp_path, study, rows):
    with Store(tmp_path, (study,)) as store:
        store.add(rows)
    expected = sorted(rows, key=lambda row: (row.batch_size, row.phase, row.step_size, row.seed))
    assert all(map(same, read_rows(tmp_path), expected))
    assert len(read_rows(tmp_path)) == 4
    assert read(tmp_path).study == study


@given(
    number=st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    seconds=st.floats(0, 1e300) | st.just(math.nan),
    message=st.text(st.characters(exclude_categories=["Cs"])),
    loss=st.floats(allow_infinity=False) | st.just(math.nan),
    shape=st.none() | st.lists(st.integers(1, 9), min_size=1).map(tuple),
)
def test_the_codec_is_lossless(number, seconds, message, loss, shape):
    row = dataclasses.replace(
        factory.row(),
        message=message,
        seconds=seconds,
        epochs_to_target=number,
        train_loss=number,
        heldout_accuracy=None,
        input_shape=shape,
        bias=False,
        filters=7,
        history=(Evaluation(1.0, 5, loss, batch_size_bound=number),),
    )
    assert same(decode(encode(row)), row)


def test_any_tool_can_read_the_file(tmp_path, study, rows):
    with Store(tmp_path, (study,)) as store:
        store.add(rows)
    file = sqlite3.connect(tmp_path / "results-1of1.sqlite")
    query = (
        "SELECT trial_id, outcome, batch_size_bound_at_the_end FROM rows JOIN (SELECT trial, batch_size_bound AS "
        "batch_size_bound_at_the_end FROM evaluations WHERE epoch = 1) ON trial = key ORDER BY step_size"
    )
    assert file.execute(query).fetchall() == [(row.trial_id, "censored", 3.5) for row in rows]


def test_a_cohort_is_stored_whole_or_not_at_all(tmp_path, study, rows):
    with Store(tmp_path, (study,)) as store:
        broken = dataclasses.replace(rows[-1], seed=object())  # type: ignore[arg-type]
        with pytest.raises(sqlite3.Error):
            store.add([*rows[:-1], broken])
        assert store.rows() == ()


def test_two_runs_on_one_directory_are_refused(tmp_path, study):
    with Store(tmp_path, (study,)), pytest.raises(StoreError, match="another run is writing"):
        Store(tmp_path, (study,))
    Store(tmp_path, (study,)).close()


def test_shards_run_beside_each_other_but_each_once(tmp_path, study, rows):
    with Store(tmp_path, (study,), Shard(1, 2)) as one, Store(tmp_path, (study,), Shard(2, 2)) as two:
        for again in (Shard(1, 2), Shard(2, 2), Shard()):
            with pytest.raises(StoreError, match="another run is writing"):
                Store(tmp_path, (study,), again)
        one.add(rows[:2])
        two.add(rows[2:])
        assert len(one.rows()) == 4
    assert {path.name for path in tmp_path.glob("*.sqlite")} == {"results-1of2.sqlite", "results-2of2.sqlite"}


def test_a_trial_held_twice_counts_once_and_a_finished_one_wins(tmp_path, study, rows):
    crashed = dataclasses.replace(rows[0], outcome=Outcome.CRASHED)
    with Store(tmp_path, (study,), Shard(1, 2)) as one, Store(tmp_path, (study,), Shard(2, 2)) as two:
        one.add([crashed, rows[1]])
        two.add([rows[0], dataclasses.replace(rows[1], outcome=Outcome.CRASHED)])
    found = {row.trial_id: row.outcome for row in read_rows(tmp_path)}
    assert found == {rows[0].trial_id: Outcome.CENSORED, rows[1].trial_id: Outcome.CENSORED}


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_epochs": 5}, {"batch_sizes": (11, 53)}, {"num_seeds": 2}])
def test_another_study_in_the_directory_is_refused(tmp_path, study, change):
    Store(tmp_path, (study,)).close()
    with pytest.raises(StoreError, match=f"holds another study: 'small' with {next(iter(change))}"):
        Store(tmp_path, (make_study(**change),))
    with pytest.raises(StoreError, match="'small', which is not among"):
        Store(tmp_path, (make_study(name="other"),))
    assert read(tmp_path).study == study


@pytest.mark.parametrize(
    "change", [{"batch_sizes": (11, 53, 101, 211)}, {"depths": (1, 2, 3)}, {"num_seeds": 4}, {"assumptions": ("a",)}]
)
def test_a_study_may_grow(tmp_path, study, change):
    Store(tmp_path, (study,)).close()
    larger = make_study(**change)
    Store(tmp_path, (larger, make_study(name="another"))).close()
    assert read(tmp_path).of("small").study == larger


def test_a_damaged_file_is_named_with_the_remedy(tmp_path, study, rows):
    with Store(tmp_path, (study,)) as store:
        store.add(rows)
    path = tmp_path / "results-1of1.sqlite"
    path.write_bytes(b"not a database" * 100)
    for attempt in (lambda: read(tmp_path), lambda: Store(tmp_path, (study,))):
        with pytest.raises(StoreError, match=r"results-1of1.sqlite is damaged .*move it away"):
            attempt()


def test_a_truncated_file_is_named_too(tmp_path, study, rows):
    with Store(tmp_path, (study,)) as store:
        store.add([dataclasses.replace(row, message="m" * 9000) for row in rows])
    path = tmp_path / "results-1of1.sqlite"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match="is damaged"):
        read(tmp_path)


def test_a_column_of_a_later_version_is_added_and_a_missing_one_takes_its_default(tmp_path, study, rows):
    with Store(tmp_path, (study,)) as store:
        store.add(rows[:1])
    with sqlite3.connect(tmp_path / "results-1of1.sqlite") as file:
        file.execute('ALTER TABLE rows DROP COLUMN "commit"')
    assert read_rows(tmp_path)[0].commit == ""
    with Store(tmp_path, (study,)) as store:
        store.add(rows[1:])
    assert len(read_rows(tmp_path)) == 4


def test_what_is_no_run_directory_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"is not a run directory: it has no study.toml"):
        read(tmp_path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path, study):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "runs", (study,))


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "", "²/3", "1/²", "1/" + 5000 * "9"])
def test_shards_are_one_of_n(text):
    with pytest.raises(InputError, match="expected I/N"):
        Shard.parse(text)
    assert Shard.parse("2/3") == Shard(2, 3)
