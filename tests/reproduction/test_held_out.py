"""Held-out error: the slopes are those of least squares with their intervals, of the runs that arrived."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from batchscope.records import Rows
from reproduction import evidence, held_out


def test_slopes_are_those_of_least_squares_with_their_intervals():
    rng = np.random.default_rng(4)
    x = rng.normal(size=200)
    design = np.column_stack([np.ones(200), x])
    expected = stats.linregress(x, y := 3 + 2 * x + rng.normal(size=200))
    beta, half = held_out.least_squares(design, y, np.ones(200))
    assert beta[1] == pytest.approx(expected.slope)
    assert half[1] == pytest.approx(stats.t.ppf(0.975, 198) * expected.stderr)


def test_runs_of_a_cell_count_together():
    """Slopes of the rows are those of the cells' means, and their intervals do not shrink with copies of a run."""
    rows = [row for row in evidence.results(evidence.MNIST).rows if row.phase == "final"]
    found = held_out.held_out(Rows.of(rows))
    cells = {}
    for row in rows:
        if row.epochs_to_target is not None:
            cells.setdefault((row.batch_size, row.depth), []).append(100 * (1 - row.heldout_accuracy))
    design = np.column_stack([np.ones(len(cells)), np.log2(list(cells))])
    means, weights = np.array([np.mean(one) for one in cells.values()]), np.array([len(one) for one in cells.values()])
    beta = np.linalg.solve(design.T @ (weights[:, None] * design), design.T @ (weights * means))
    assert (found.by_size.value, found.by_depth.value) == pytest.approx(tuple(beta[1:]))
    twice = held_out.least_squares(design, means, 2 * weights)[1]
    assert twice == pytest.approx(held_out.least_squares(design, means, weights)[1])


def test_only_runs_that_arrived_count_and_one_depth_has_no_slope():
    rows = evidence.results(evidence.MNIST).rows
    finals = [row for row in rows if row.phase == "final" and row.depth == 1]
    arrived = [row for row in finals if row.epochs_to_target is not None]
    found = held_out.held_out(Rows.of(finals))
    assert found.n == len(arrived)
    assert found.error == pytest.approx(100 * np.mean([1 - row.heldout_accuracy for row in arrived]))
    assert math.isnan(found.by_depth.value)
    assert str(found.by_depth) == "-"
    assert not math.isnan(found.by_size.value)


def test_a_study_without_held_out_accuracy_has_none():
    assert held_out.held_out(Rows.of(evidence.results(evidence.LINEAR).rows)) is None
