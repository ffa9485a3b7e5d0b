"""Cells: means with their n and interval, lower bounds, outcomes that have no number."""

import math
import random
from dataclasses import replace

import pytest
from scipy import stats

from batchscope.analysis.cells import batch_sizes, cells, number, summarise, tidy
from batchscope.analysis.context import context
from batchscope.records.row import Outcome
from tests.report import factory


def test_a_cell_holds_mean_spread_and_student_interval_of_its_seeds():
    epochs = [7.0, 11.0, 13.0]
    (cell,) = cells([factory.row(seed=seed, epochs_to_target=value) for seed, value in enumerate(epochs)])
    assert (cell.epochs.n, cell.epochs.least, cell.epochs.most) == (3, 7, 13)
    half = stats.t.interval(0.95, 2, scale=stats.tstd(epochs) / math.sqrt(3))[1]
    low, high = (31 / 3 * math.exp(sign * half / (31 / 3)) for sign in (-1, 1))
    assert cell.epochs.mean == pytest.approx(31 / 3)
    assert (cell.epochs.low, cell.epochs.high) == pytest.approx((low, high))
    assert cell.outcomes == "3 reached"


def test_a_censored_seed_makes_the_mean_a_lower_bound_without_interval():
    (cell,) = cells([factory.row(seed=0, epochs_to_target=40.0), factory.censored(seed=1)])
    assert cell.epochs.mean == 70
    assert cell.epochs.lower_bound
    assert cell.epochs.low is None
    assert cell.epochs_text == "≥ 70"
    assert not cell.never


def test_diverged_and_crashed_seeds_are_counted_and_have_no_epochs():
    (cell,) = cells([factory.row(seed=0), factory.diverged(seed=1), factory.crashed(seed=2)])
    assert (cell.epochs.mean, cell.epochs.n) == (7, 1)
    assert cell.outcomes == "1 reached, 1 diverged, 1 crashed"
    (lost,) = cells([factory.diverged(seed=1), factory.crashed(seed=2)])
    assert lost.epochs is None
    assert lost.never
    assert lost.epochs_text == "never"


def test_only_censored_seeds_read_as_more_than_the_epochs_they_ran():
    (cell,) = cells([factory.censored(seed=seed) for seed in range(3)])
    assert cell.never
    assert cell.epochs_text == "> 100"


def test_no_rows_give_no_cells_and_one_row_no_interval():
    assert cells([]) == ()
    (cell,) = cells([factory.row()])
    assert (cell.epochs.n, cell.epochs.sd, cell.epochs.low) == (1, None, None)
    assert summarise([]) is None


def test_tuning_runs_are_no_reported_runs():
    assert cells([factory.row(phase="tune")]) == ()


def test_the_table_does_not_depend_on_the_order_of_rows():
    rows = factory.study()
    shuffled = random.Random(0).sample(rows, len(rows))
    assert [replace(cell, seconds=0.0) for cell in cells(shuffled)] == [replace(c, seconds=0.0) for c in cells(rows)]


def test_cells_run_from_wide_to_deep_and_small_to_large():
    table = cells(factory.study())
    order = [(cell.depth, cell.batch_size) for cell in table]
    assert order == sorted(order)
    assert batch_sizes(table) == list(factory.BATCH_SIZES)
    assert tidy(table)[0]["epochs"]["n"] == 5


def test_seeds_that_did_not_share_a_step_size_have_none():
    (cell,) = cells([factory.row(seed=0, step_size=0.1), factory.row(seed=1, step_size=0.2)])
    assert cell.step_size is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.345, "12.3"),
        (0.01234, "0.0123"),
        (12345.6, "12 300"),
        (0, "0"),
        (99.96, "100"),
        (2e12, "2.00e+12"),
        (math.nan, "-"),
    ],
)
def test_numbers_have_three_digits_and_no_needless_powers(value, text):
    assert number(value) == text


def test_context_names_what_runs_share_and_what_they_do_not():
    about = context([factory.row(seed=0), factory.row(seed=1), factory.row(batch_size=64, dataset="mnist")])
    assert about.dataset == "digits / mnist"
    assert about.seeds == "1-2"
    assert about.target == "train accuracy ≥ 0.96"
    assert context([]).study == "-"


def test_outcome_counts_add_up():
    for cell in cells(factory.study()):
        assert sum(getattr(cell, outcome.value) for outcome in Outcome) == cell.num_seeds
