"""Gradient diversity at equal epochs: a longer run does not win by its length, and initialisation does not count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchscope.analysis import compare, correlate_diversity, findings, sweeps_of
from batchscope.analysis.diversity import at_equal_epochs, has_curves
from batchscope.records.row import Evaluation, Outcome, Row
from tests.analysis.conftest import make_row

WIDE = {"shape": "wide one", "depth": 1}
DEEP = {"shape": "deep one", "depth": 8}


def measured_row(bounds: dict[float, float | None], batch_size: int = 32, seed: int = 0, **changes: object) -> Row:
    """A run with B_S at some epochs: None where it was not measured."""
    history = tuple(
        Evaluation(epoch, round(epoch * 32), 1.0, 0.5, batch_size_bound=bound) for epoch, bound in bounds.items()
    )
    known = [bound for bound in bounds.values() if bound is not None]
    return make_row(
        max(bounds),
        batch_size,
        seed,
        history=history,
        batch_size_bound=sum(known) / len(known) if known else None,
        **changes,
    )


def growing(factor: float, epochs: int, noise: float = 1.0) -> dict[float, float | None]:
    """B_S = factor * 10^epoch, measured at every second epoch; 1000 / factor before training."""
    return {float(e): None if e % 2 else 1000 / factor if e == 0 else noise * factor * 10**e for e in range(epochs + 1)}


def two_shapes() -> list[Row]:
    """The wide net has twice the diversity at every epoch; the deep one trains twice as long, and starts higher."""
    rng = np.random.default_rng(0)
    return [
        measured_row(growing(factor, epochs, rng.uniform(0.9, 1.1)), batch_size, seed, **shape)
        for shape, factor, epochs in ((WIDE, 2.0, 4), (DEEP, 1.0, 8))
        for batch_size in (32, 64)
        for seed in range(5)
    ]


def test_a_longer_run_does_not_win_by_its_length():
    rows = two_shapes()
    wide, deep = sweeps_of(rows).values()
    assert deep.bounds.mean() > 100 * wide.bounds.mean()
    verdict = compare(rows, definition="mean_diversity")
    assert verdict.decision == "wide"
    assert verdict.ratio == pytest.approx(2.0, rel=0.15)
    assert "epochs after the start at which all runs were measured" in verdict.sentence
    assert findings(rows)[3].decision == "supported"


def test_bounds_are_geometric_means_over_the_epochs_that_all_runs_share():
    rng = np.random.default_rng(1)
    rows = []
    for shape in (WIDE, DEEP):
        for batch_size in (32, 64, 128):
            for seed in range(4):
                epochs = range(int(rng.integers(3, 9)))
                bounds = {float(e): None if rng.random() < 0.1 else float(rng.lognormal()) for e in epochs}
                rows.append(measured_row(bounds, batch_size, seed, **shape))
    rows.append(measured_row({1.0: 5.0}, 32, 4, **WIDE, outcome=Outcome.DIVERGED))
    rows.append(measured_row({1.0: 5.0}, 256, 0, **WIDE))  # a batch size of one shape only
    sweeps = sweeps_of(rows)
    for sweep in at_equal_epochs(list(sweeps.values())):
        runs = sorted((row for row in rows if row.shape == sweep.shape), key=lambda row: row.batch_size)
        expected = [_expected(row, rows) for row in runs]
        np.testing.assert_allclose(sweep.bounds, expected)
        assert np.isfinite(expected).sum() >= 8


def _expected(row: Row, rows: list[Row]) -> float:
    if row.batch_size == 256 or row.outcome is Outcome.DIVERGED:
        return math.nan
    beside = [other for other in rows if other.batch_size == row.batch_size and other.outcome is not Outcome.DIVERGED]
    curves = [{at.epoch: at.batch_size_bound for at in other.history if at.batch_size_bound} for other in beside]
    shared = set.intersection(*map(set, curves)) - {0.0}
    mine = {at.epoch: at.batch_size_bound for at in row.history}
    return math.exp(sum(math.log(mine[epoch]) for epoch in shared) / len(shared)) if shared else math.nan


def test_without_a_shared_epoch_nothing_is_decided():
    rows = [
        measured_row({0.0: 5.0, epoch: 7.0}, seed=seed, **shape)
        for shape, epoch in ((WIDE, 2.0), (DEEP, 3.0))
        for seed in range(5)
    ]
    verdict = compare(rows, definition="mean_diversity")
    assert verdict.decision == "undecided"
    assert "at no epoch that all share" in verdict.sentence
    assert math.isnan(correlate_diversity(rows).rank)


def test_means_are_compared_as_they_are_where_only_they_are_known():
    rows = [
        make_row(5.0, 32, seed, batch_size_bound=bound, **shape)
        for shape, bound in ((WIDE, 9.0), (DEEP, 3.0))
        for seed in range(5)
    ]
    sweeps = list(sweeps_of(rows).values())
    assert not has_curves(sweeps)
    assert not has_curves([])
    assert at_equal_epochs(sweeps) == sweeps
    verdict = compare(rows, definition="mean_diversity")
    assert (verdict.decision, verdict.ratio) == ("wide", 3.0)
    assert "after the start" not in verdict.sentence
