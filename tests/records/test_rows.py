"""Rows by columns: equal to the rows they were made of, filtered and grouped as a loop over the rows would."""

from __future__ import annotations

import copy
import math
import pickle
from operator import attrgetter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.records.row import Outcome, Row
from batchscope.records.rows import COLUMNS, KINDS, Rows
from tests.report import factory

runs = st.builds(
    factory.row,
    depth=st.integers(1, 3),
    batch_size=st.sampled_from((8, 16)),
    seed=st.integers(0, 2),
    phase=st.sampled_from(("tune", "final")),
    outcome=st.sampled_from(Outcome),
    epochs_to_target=st.none() | st.floats(0, 9),
    steps_to_target=st.none() | st.integers(0, 2**53),
    heldout_accuracy=st.none() | st.floats(0, 1),
    seconds=st.floats(0, 9),
)
studies = st.lists(runs, max_size=12)
fields = st.lists(st.sampled_from(("phase", "depth", "batch_size", "outcome", "seed")), min_size=1, unique=True)


@given(studies)
def test_rows_by_columns_equal_the_rows_they_were_made_of(given_rows):
    rows = Rows.of(given_rows)
    assert isinstance(rows, Rows)
    assert (rows, len(rows), list(rows)) == (given_rows, len(given_rows), given_rows)
    assert list(map(rows.__getitem__, range(-len(rows), len(rows)))) == given_rows * 2
    assert (rows[1:], rows[::-2], rows[:1][1:]) == (given_rows[1:], given_rows[::-2], [])
    assert all(type(row) is Row for row in rows)
    assert all(
        type(getattr(row, name)) is type(getattr(old, name))
        for row, old in zip(rows, given_rows, strict=True)
        for name in COLUMNS
    )
    assert pickle.loads(pickle.dumps(rows)) == copy.deepcopy(rows) == given_rows
    assert repr(rows) == repr(tuple(given_rows))


def test_an_index_beyond_the_rows_is_an_index_error():
    with pytest.raises(IndexError):
        Rows.of([factory.row()])[1]


def test_rows_differ_from_other_rows_and_from_what_is_no_sequence():
    rows = Rows.of([factory.row()])
    assert rows != [factory.row(seed=1)]
    assert rows != []
    assert rows != 1
    assert hash(rows) == hash(Rows.of([factory.row()]))


@given(studies)
def test_columns_hold_the_fields_and_nan_for_what_is_missing(given_rows):
    rows = Rows.of(given_rows)
    for name in COLUMNS:
        found = [getattr(row, name) for row in given_rows]
        assert rows.entries(name) == found
        if KINDS[name][0] in (int, float):
            found = [math.nan if value is None else value for value in found]
            np.testing.assert_array_equal(rows.column(name), found)
        assert all(one == other or one != one for one, other in zip(rows.column(name), found, strict=True))
    assert rows.column("depth").dtype == np.int64
    assert rows.column("bias").dtype == bool
    assert rows.column("steps_to_target").dtype == rows.column("seconds").dtype == np.float64


@given(studies, st.data())
def test_rows_are_picked_like_entries_of_an_array(given_rows, data):
    rows = Rows.of(given_rows)
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1))) if given_rows else []
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    chosen = rows.pick(np.array(indices, dtype=np.int64))
    assert list(chosen) == [given_rows[index] for index in indices]
    assert list(rows.pick(mask)) == [row for row, keep in zip(given_rows, mask, strict=True) if keep]
    assert list(chosen[1:4]) == list(chosen)[1:4]
    assert chosen[1:4].entries("seed") == [row.seed for row in list(chosen)[1:4]]


@given(studies)
def test_where_keeps_the_rows_with_all_of_the_values(given_rows):
    expected = [row for row in given_rows if row.phase == "final" and row.outcome is Outcome.REACHED]
    assert list(Rows.of(given_rows).where(phase="final", outcome=Outcome.REACHED)) == expected
    either = [row for row in given_rows if row.depth in (1, 3)]
    assert list(Rows.of(given_rows).where(depth=(1, 3))) == either


@given(studies, fields)
def test_groups_and_rows_come_in_the_order_of_the_rows(given_rows, names):
    expected: dict[tuple[object, ...], list[Row]] = {}
    for row in given_rows:
        expected.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    rows = Rows.of(given_rows)
    assert {key: list(group) for key, group in rows.group_by(*names).items()} == expected
    assert list(rows.group_by(*names)) == rows.distinct(*names) == list(expected)


@given(studies, fields)
def test_sorting_is_stable(given_rows, names):
    expected = sorted(given_rows, key=attrgetter(*names))
    assert list(Rows.of(given_rows).in_order_of(*names)) == expected


@given(st.lists(studies, max_size=3))
def test_sequences_are_joined_in_their_order(parts):
    assert list(Rows.joined(parts)) == [row for part in parts for row in part]
