"""Rows to arrays."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from batchscope.analysis import find_shape, sweeps_of
from batchscope.errors import InputError


def test_final_runs_are_grouped_by_shape_shallowest_first_and_tune_runs_ignored(rows):
    everything = [
        *rows({32: [5.0]}, shape="deep", depth=7, width=11),
        *rows({32: [5.0], 64: [6.0, 7.0]}, shape="flat", depth=1, width=13),
        *rows({32: [5.0]}, shape="narrow", depth=1, width=3),
        *rows({32: [1.0]}, shape="tuned only", phase="tune"),
    ]
    sweeps = sweeps_of(everything)
    assert list(sweeps) == ["flat", "narrow", "deep"]
    assert sweeps["flat"].batch_sizes.tolist() == [32, 64]
    assert sweeps["flat"].cell.tolist() == [0, 1, 1]
    assert find_shape(sweeps, "wide") == "flat"
    assert find_shape(sweeps, "deep") == "deep"


def test_objects_with_rows_and_ready_sweeps_are_taken_as_well(rows):
    some = rows({32: [5.0], 64: [6.0]})
    assert sweeps_of(SimpleNamespace(rows=some)).keys() == sweeps_of(some).keys()
    ready = sweeps_of(some)
    assert sweeps_of(ready) is ready
    assert sweeps_of([]) == {}


def test_outcomes_become_numbers_and_flags(rows):
    sweep = sweeps_of(rows({32: [5.0, None, "diverged", "crashed"]}))["net"]
    assert sweep.epochs.tolist() == [5.0, np.inf, np.inf]
    assert sweep.reached.tolist() == [True, False, False]
    assert sweep.diverged.tolist() == [False, False, True]
    assert sweep.num_crashed == 1
    assert sweep.steps_before.tolist() == [4 * 32, 100 * 32, 100 * 32]


def test_steps_before_come_from_the_history_where_there_is_one(row, history):
    run = history(row(3.0, batch_size=32), [0.1, 0.5, 0.97])
    assert sweeps_of([run])["net"].steps_before.tolist() == [64]
    at_once = replace(run, history=run.history[:1], epochs_to_target=1.0, steps_to_target=32)
    assert sweeps_of([at_once])["net"].steps_before.tolist() == [0]


def test_typical_is_what_half_of_the_runs_needed(rows):
    sweep = sweeps_of(rows({32: [3.0, 1.0, 2.0], 64: [4.0, None], 128: [4.0, None, None]}))["net"]
    assert sweep.typical(sweep.epochs).tolist() == [2.0, 4.0, np.inf]


def test_a_restricted_sweep_equals_the_sweep_of_the_restricted_rows(rows):
    some = rows({32: [3.0], 64: [4.0, 5.0], 128: [6.0]})
    restricted = sweeps_of(some)["net"].at(np.array([64, 128, 256]))
    expected = sweeps_of([row for row in some if row.batch_size > 32])["net"]
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(restricted, name), value, err_msg=name)


@pytest.mark.parametrize(("name", "other"), [("dataset", "mnist"), ("protocol", "tuned"), ("target_value", 0.5)])
def test_rows_of_different_problems_are_refused_by_name(rows, name, other):
    with pytest.raises(InputError, match=f"{name} = .*expected one"):
        sweeps_of(rows({32: [5.0]}) + rows({64: [5.0]}, **{name: other}))


def test_a_misspelt_shape_gets_the_nearest_and_one_shape_is_not_two(rows):
    sweeps = sweeps_of(rows({32: [5.0]}, shape="784-20-10 relu"))
    with pytest.raises(InputError, match="did you mean '784-20-10 relu'"):
        find_shape(sweeps, "784-20-10 rel")
    with pytest.raises(InputError, match="single shape"):
        find_shape(sweeps, "deep")
