"""Histories: read late, by columns, yet equal to what was stored."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.records.histories import (
    EvaluationTable,
    GivenEvaluations,
    History,
    columns,
    from_json,
    lengths,
    to_json,
)
from batchscope.records.row import Evaluation

numbers = st.floats(allow_nan=False, allow_infinity=False)
evaluations = st.builds(
    Evaluation, numbers, st.integers(0, 10**12), numbers, numbers, numbers, st.none() | st.floats(0, 1e9)
)
histories = st.lists(evaluations, max_size=7).map(tuple)
FIELDS = [field.name for field in dataclasses.fields(Evaluation)]


def lazy(several: list[tuple[Evaluation, ...]]) -> list[History]:
    table = GivenEvaluations(several)
    return [History(table, run) for run in range(len(several))]


@given(histories, histories)
def test_a_history_equals_the_evaluations_it_was_made_of(one, other):
    late, second = lazy([one, other])
    assert (len(late), bool(late)) == (len(one), bool(one))
    assert late == one
    assert one == late
    assert late == lazy([one])[0]
    assert (late == second) == (late == other) == (one == other)
    assert hash(late) == hash(one)
    assert tuple(late) == one
    assert late[:2] == one[:2]
    assert repr(pickle.loads(pickle.dumps(late))) == repr(copy.deepcopy(late)) == repr(one)
    assert [type(entry.step) for entry in late] == [int] * len(one)
    assert late != "text"


@given(st.lists(histories, max_size=5), st.lists(histories, max_size=3), st.sampled_from(FIELDS), st.randoms())
def test_columns_are_the_fields_padded_whatever_tables_they_are_of(several, more, name, random):
    mixed = [
        *zip(several, lazy(several), strict=True),
        *zip(more, lazy(more), strict=True),
        *zip(more, more, strict=True),
    ]
    random.shuffle(mixed)
    expected = np.full((len(mixed), max((len(given) for given, _ in mixed), default=0)), np.nan)
    for row, (history, _) in zip(expected, mixed, strict=True):
        row[: len(history)] = [math.nan if (v := getattr(e, name)) is None else v for e in history]
    np.testing.assert_array_equal(columns([history for _, history in mixed], name), expected)
    np.testing.assert_array_equal(columns([history for history, _ in mixed], name), expected)
    assert lengths([history for _, history in mixed]).tolist() == [len(history) for history, _ in mixed]


def test_a_column_is_loaded_once_and_no_other_is(monkeypatch):
    asked = []

    class Counting(EvaluationTable):
        def load_lengths(self):
            return np.array([2, 0, 1])

        def load(self, name):
            asked.append(name)
            return np.array([2.5, np.nan, 7.0])

    table = Counting()
    runs = [History(table, run) for run in (2, 0, 1, 2)]
    assert list(map(len, runs)) == [1, 2, 0, 1]
    assert asked == []
    for _ in range(2):
        np.testing.assert_array_equal(
            columns(runs, "train_loss"), [[7.0, np.nan], [2.5, np.nan], [np.nan] * 2, [7, np.nan]]
        )
    assert asked == ["train_loss"]


@given(histories)
def test_json_is_lossless_but_for_numbers_that_are_not_finite(history):
    assert from_json(to_json(history)) == history
    assert to_json(lazy([history])[0]) == to_json(history)
    odd = Evaluation(1.0, 7, math.inf, math.nan)
    assert repr(from_json(to_json([odd]))) == repr((Evaluation(1.0, 7, math.nan, math.nan),))


def test_a_history_kept_as_objects_is_read_too():
    entry = Evaluation(1.0, 7, 0.5, batch_size_bound=3.0)
    text = json.dumps([dataclasses.asdict(entry) | {"train_accuracy": None, "heldout_accuracy": None}])
    assert repr(from_json(text)) == repr((entry,))


def test_a_field_that_was_not_stored_takes_its_default():
    known = from_json('{"epoch":[0.0,1.0],"step":[0,7],"train_loss":[2.5,0.5]}')
    assert repr(known) == repr((Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, 0.5)))
    assert from_json("") == from_json(None) == from_json("{}") == ()


@pytest.mark.parametrize("text", ["{", '{"epoch":[1.0],"step":[1,2],"train_loss":[1]}', '{"epoch":[1]}', "[3]"])
def test_a_damaged_text_is_refused(text):
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(text)
