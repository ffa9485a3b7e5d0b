"""Histories: decoded late, yet equal to what was stored; columns equal to the fields of the evaluations."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.errors import StoreError
from batchscope.records.histories import History, columns, to_json
from batchscope.records.row import Evaluation

numbers = st.floats(allow_nan=False, allow_infinity=False)
evaluations = st.builds(
    Evaluation, numbers, st.integers(0, 10**12), numbers, numbers, numbers, st.none() | st.floats(0, 1e9)
)
histories = st.lists(evaluations, max_size=7).map(tuple)


@given(histories, histories)
def test_a_history_equals_the_evaluations_it_was_made_of(one, other):
    lazy = History(to_json(one))
    assert len(lazy) == len(one)
    assert lazy == one
    assert one == lazy
    assert lazy == History(to_json(one))
    assert (lazy == other) == (one == other)
    assert (History(json.dumps(json.loads(lazy.text))) == other) == (one == other)
    assert hash(lazy) == hash(one)
    assert tuple(lazy) == one
    assert lazy[:2] == one[:2]
    assert repr(pickle.loads(pickle.dumps(lazy))) == repr(one)
    assert lazy != "text"


@given(st.lists(histories, max_size=5), st.sampled_from([field.name for field in dataclasses.fields(Evaluation)]))
def test_columns_are_the_fields_padded(several, name):
    expected = np.full((len(several), max(map(len, several), default=0)), np.nan)
    for row, history in zip(expected, several, strict=True):
        row[: len(history)] = [math.nan if (v := getattr(e, name)) is None else v for e in history]
    np.testing.assert_array_equal(columns(several, name), expected)
    np.testing.assert_array_equal(columns([History(to_json(history)) for history in several], name), expected)


def test_looking_at_lengths_and_columns_makes_no_evaluations(monkeypatch):
    lazy = History(to_json([Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, math.inf)]))
    monkeypatch.setattr("batchscope.records.histories._decode", None)
    assert lazy
    assert len(lazy) == 2
    np.testing.assert_array_equal(columns([lazy, ()], "train_loss"), [[2.5, np.nan], [np.nan, np.nan]])


def test_a_history_kept_as_objects_is_read_too():
    entry = Evaluation(1.0, 7, 0.5, batch_size_bound=3.0)
    text = json.dumps([dataclasses.asdict(entry) | {"train_accuracy": None, "heldout_accuracy": None}])
    assert repr(History(text)) == repr((entry,))
    assert len(History(text)) == 1


def test_a_field_that_was_not_stored_takes_its_default():
    known = History('{"epoch":[0.0,1.0],"step":[0,7],"train_loss":[2.5,0.5]}')
    assert repr(known) == repr((Evaluation(0.0, 0, 2.5), Evaluation(1.0, 7, 0.5)))
    assert np.isnan(columns([known], "batch_size_bound")).all()


@pytest.mark.parametrize("text", ["{", '{"epoch":[1.0],"step":[1,2],"train_loss":[1]}', '{"epoch":[1]}', "[3]"])
def test_a_damaged_history_says_so_when_looked_at(text):
    with pytest.raises(StoreError, match="damaged"):
        tuple(History(text))


def test_damaged_columns_say_so():
    with pytest.raises(StoreError, match="damaged"):
        columns([History('{"epoch":[1.0,x],"step":[1]}')], "epoch")
