"""Cells: means with their n and interval, lower bounds, outcomes that have no number."""

import math
import random
from dataclasses import replace

import pytest

from batchscope.analysis.cells import CellTable, batch_sizes, cells, summary_table
from batchscope.analysis.context import context
from batchscope.analysis.fit.arrivals import typical_times
from batchscope.analysis.formatting import batch_size, number
from batchscope.analysis.summaries import summarise
from batchscope.records.row import Outcome
from tests.report import factory

from .conftest import make_rows


def test_a_cell_holds_the_median_and_interval_of_the_censored_likelihood():
    epochs = [7.0, 11.0, 13.0]
    (cell,) = cells([factory.row(seed=seed, epochs_to_target=value) for seed, value in enumerate(epochs)])
    assert (cell.epochs.n, cell.epochs.least, cell.epochs.most) == (3, 7, 13)
    known = typical_times([6, 10, 12], epochs)  # met between two checks
    assert cell.epochs.value == pytest.approx(known.value[0], rel=0.01)
    assert (cell.epochs.low, cell.epochs.high) == pytest.approx((known.low[0], known.high[0]), rel=0.02)
    assert cell.steps.value == pytest.approx(cell.epochs.value * 57)
    assert cell.outcomes == "3 reached"


def test_a_censored_seed_counts_as_slower_and_does_not_hide_the_others():
    arrived = [factory.row(seed=seed, epochs_to_target=40.0 + seed) for seed in range(4)]
    (all_of_them,), (cell,) = cells(arrived), cells([*arrived, factory.censored(seed=5)])
    assert all_of_them.epochs.value < cell.epochs.value < 60
    assert not cell.epochs.bound
    assert not cell.never


def test_where_most_seeds_never_arrive_only_a_bound_is_known():
    (cell,) = cells([factory.row(seed=0, epochs_to_target=98.0), *(factory.censored(seed=k) for k in range(1, 5))])
    assert cell.epochs.bound == ">"
    assert cell.epochs_text == "> 100"
    assert cell.seeds_text == "98 - 100"


def test_all_that_arrive_by_the_first_check_are_bounded_from_above():
    (cell,) = cells([factory.row(seed=seed, epochs_to_target=1.0) for seed in range(3)])
    assert cell.epochs_text == "<= 1"
    assert cell.epochs.bound == "<="


def test_diverged_and_crashed_seeds_are_counted_and_have_no_epochs():
    reached = [factory.row(seed=seed, epochs_to_target=7.0 + seed) for seed in range(3)]
    (cell,), (alone,) = cells([*reached, factory.diverged(seed=3), factory.crashed(seed=4)]), cells(reached)
    assert cell.epochs.value > alone.epochs.value  # diverged: slower than all that arrived
    assert (cell.epochs.n, cell.epochs.most) == (3, 9)
    assert cell.outcomes == "3 reached, 1 diverged, 1 crashed"
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
    assert (cell.epochs.n, cell.epochs.low) == (1, None)
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
    assert table[0].as_dict()["epochs"]["n"] == 5


def test_seeds_that_did_not_share_a_step_size_have_none():
    (cell,) = cells([factory.row(seed=0, step_size=0.1), factory.row(seed=1, step_size=0.2)])
    assert cell.step_size is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.345, "12.3"),
        (0.01234, "0.0123"),
        (12345.6, "12 300"),
        (1024, "1024"),
        (1024.3, "1020"),
        (1023.9999, "1020"),
        (60000, "60 000"),
        (-1797, "-1797"),
        (math.inf, "unbounded"),
        (3e-5, "3.00e-05"),
        (0, "0"),
        (99.96, "100"),
        (2e12, "2.00e+12"),
        (math.nan, "-"),
    ],
)
def test_counts_are_exact_and_estimates_have_three_digits(value, text):
    assert number(value) == text


def test_batch_sizes_are_whole_numbers_from_ten_on():
    assert [batch_size(value) for value in (2.57, 90.23, 999.6, 1024.0, 1024.3, 12345.6)] == [
        "2.57",
        "90",
        "1000",
        "1024",
        "1020",
        "12 300",
    ]


def test_context_names_what_runs_share_and_what_they_do_not():
    about = context([factory.row(seed=0), factory.row(seed=1), factory.row(batch_size=64, dataset="mnist")])
    assert about.dataset == "digits / mnist"
    assert about.seeds == "1-2"
    assert about.target == "train accuracy ≥ 0.96"
    assert context([]).study == "-"


def test_outcome_counts_add_up():
    for cell in cells(factory.study()):
        assert sum(getattr(cell, outcome.value) for outcome in Outcome) == cell.num_seeds


def test_the_table_prints_in_a_hundred_columns_and_explains_itself():
    table = summary_table(factory.study())
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[2 : len(table) + 2]] == [cell.shape.split()[0] for cell in table]
    assert "median over seeds" in lines[len(table) + 3]
    assert str(CellTable(())).split()[:3] == ["shape", "batch", "size"]


def test_cells_that_were_only_tuned_are_in_the_table_of_a_run_and_nowhere_else():
    rows = [factory.row(phase="tune", step_size=step, seconds=2.0) for step in (0.1, 0.2, 0.4)]
    (cell,) = summary_table(rows)
    assert (cell.outcomes, cell.epochs_text, cell.step_size, cell.seconds) == ("not yet run", "-", None, 6.0)
    assert cells(rows) == ()


@pytest.mark.parametrize(("chosen", "edge"), [(0.1, True), (0.2, False), (0.4, True)])
def test_a_step_size_at_the_edge_of_those_tried_is_marked(chosen, edge):
    rows = [factory.row(phase="tune", step_size=step) for step in (0.1, 0.2, 0.4)]
    (cell,) = cells([*rows, factory.row(step_size=chosen)])
    assert (cell.at_grid_edge, cell.num_step_sizes) == (edge, 3)
    assert cell.step_size_text == f"{chosen:g}{'*' if edge else ''}"
    (alone,) = cells([factory.row(phase="tune"), factory.row()])
    assert not alone.at_grid_edge


@pytest.mark.parametrize(
    ("epochs", "text"), [([1, 1, 1, 2, 3], "<= 1"), ([1, 1, 1, 1, 2], "<= 1"), ([1, 2, 2, 3, 3], "")]
)
def test_where_half_the_seeds_arrived_by_the_first_check_no_number_below_it_is_made_up(epochs, text):
    (cell,) = cells(make_rows({32: epochs}))
    assert cell.epochs_text == text or (not text and cell.epochs.bound == "" and cell.epochs.value > 1)


def test_no_end_of_an_interval_is_less_than_a_step():
    (cell,) = cells(make_rows({512: [1, 1, 2, 5, 9]}))  # two steps an epoch
    assert cell.steps.low >= 1
