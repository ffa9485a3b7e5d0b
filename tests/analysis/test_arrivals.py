"""Typical times of a cell from runs seen at checks: against Student, against counting, and how often they hold."""

import math

import numpy as np
import pytest
from scipy import stats

from batchscope.analysis.fit.arrivals import log_prior, pooled_spread, summarise, typical_times
from batchscope.analysis.fit.likelihood import Cells, cells_of, log_likelihood


def seen(times, check):
    """(low, high] of times looked at every `check`."""
    high = np.ceil(times / check) * check
    return high - check, high


def test_many_exact_times_give_students_interval():
    times = np.exp(np.random.default_rng(0).normal(1.0, 0.2, 60))
    got = typical_times(times, times)
    logs = np.log(times)
    expected = np.exp(stats.t.interval(0.95, 59, logs.mean(), stats.sem(logs)))
    assert got.value[0] == pytest.approx(np.exp(logs.mean()), rel=1e-3)
    assert (got.low[0], got.high[0]) == pytest.approx(tuple(expected), rel=5e-3)


def test_the_mean_lies_above_the_median_by_half_the_variance():
    times = np.exp(np.random.default_rng(1).normal(1.0, 0.5, 400))
    median, mean = (typical_times(times, times, statistic=name).value[0] for name in ("median", "mean"))
    assert math.log(mean / median) == pytest.approx(np.log(times).var() / 2, rel=0.02)


def test_what_was_seen_at_one_check_lies_about_anywhere_in_it():
    got = typical_times([2.0] * 5, [3.0] * 5)
    assert 2.3 < got.value[0] < 2.6
    assert got.low[0] < 2.05
    assert got.high[0] > 2.95


def test_a_run_that_was_stopped_is_a_bound_and_one_that_diverged_is_slower_than_the_rest():
    low, high = seen(np.array([4.2, 5.1, 5.9]), 1.0)
    alone = typical_times(low, high)
    stopped = typical_times([*low, 6.0], [*high, math.inf])
    diverged = typical_times([*low, 0.1], [*high, 0.2], diverged=[False] * 3 + [True])
    assert alone.value[0] < stopped.value[0] == pytest.approx(diverged.value[0])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ([7.0, 8.0], [math.inf] * 2, (7.0, math.inf)),
        ([0.0, 0.0], [1.0, 1.0], (0.0, 1.0)),
        ([2.0], [3.0], (math.nan, math.nan)),
        ([], [], (math.nan, math.nan)),
    ],
)
def test_bounds_are_said_where_nothing_more_is_known(low, high, expected):
    got = typical_times(low, high)
    np.testing.assert_allclose((got.low[0], got.high[0]), expected, rtol=1e-12)
    assert math.isnan(got.value[0]) == (len(low) != 1)


def test_cells_do_not_see_each_other():
    rng = np.random.default_rng(2)
    low, high = seen(np.exp(rng.normal(1.5, 0.3, 15)), 0.5)
    cell = np.repeat([0, 1, 2], 5)
    together = typical_times(low, high, cell)
    for k in range(3):
        alone = typical_times(low[cell == k], high[cell == k])
        assert alone.high[0] == pytest.approx(together.high[k], rel=1e-3)
        assert alone.value[0] == pytest.approx(together.value[k], rel=1e-3)


def test_probabilities_agree_with_the_normal_distribution_far_out_too():
    low = np.array([-1.0, 8.0, -9.0, -np.inf, 2.0, -60.0, -np.inf, 40.0, -41.0])
    high = np.array([0.5, 9.0, -8.0, 0.0, np.inf, 50.0, 50.0, 41.0, -40.0])
    cells = Cells(low[:, None], high[:, None], np.ones((len(low), 1)))
    got = log_likelihood(cells, np.zeros((len(low), 1, 1)), np.ones((len(low), 1)))[:, 0, 0]
    expected = np.log(stats.norm.cdf(high[:7]) - stats.norm.cdf(low[:7]))
    tail = stats.norm.logcdf(-8) + np.log1p(-np.exp(stats.norm.logcdf(-9) - stats.norm.logcdf(-8)))
    far = stats.norm.logcdf(-40)  # of which beyond 41 is e^-40
    np.testing.assert_allclose(got, [expected[0], tail, tail, *expected[3:], far, far], rtol=1e-6, atol=1e-12)


def test_a_likelihood_is_that_of_its_runs_one_by_one():
    rng = np.random.default_rng(4)
    low = np.array([-np.inf, 0.0, 0.5, 0.5, 1.0, 1.5, 0.8, 0.81])  # neighbours, gaps, a point, one as good as a point
    high = np.array([0.0, 0.5, 1.0, 1.0, np.inf, 2.0, 0.8, 0.82])
    cell = np.repeat(np.arange(3), 8)
    cells = cells_of(np.exp(np.tile(low, 3)), np.exp(np.tile(high, 3)), cell, 3)
    points, spread = rng.normal(0.5, 0.5, (3, 2, 5)), rng.uniform(0.2, 0.6, (3, 2))
    mu, sigma = points[..., None], spread[..., None, None]
    ends = stats.norm.cdf((high[:6] - mu) / sigma) - stats.norm.cdf((low[:6] - mu) / sigma)
    point = stats.norm.logpdf((0.8 - mu) / sigma) - np.log(sigma)
    short = np.log(stats.norm.cdf((0.82 - mu) / sigma) - stats.norm.cdf((0.81 - mu) / sigma))
    expected = np.log(ends).sum(axis=-1) + (point + short)[..., 0]
    np.testing.assert_allclose(log_likelihood(cells, points, spread), expected, rtol=1e-4)


def test_the_common_spread_is_the_best_of_every_one_tried():
    rng = np.random.default_rng(5)
    for spread, check in ((0.05, 1.0), (0.3, 1.0), (0.3, 0.1), (1.0, 3.0)):
        cell = np.repeat(np.arange(4), 5)
        low, high = seen(np.exp(rng.normal(1.0 + cell / 2, spread)), check)
        cells = cells_of(low, high, cell, 4)
        tried = np.geomspace(0.005, 3.0, 300)
        score = np.nansum(summarise(cells, tried).evidence, axis=0) + log_prior(tried)
        assert pooled_spread(cells) == pytest.approx(tried[score.argmax()], rel=0.04)


def test_the_common_spread_allows_for_a_mean_of_every_cell():
    rng = np.random.default_rng(3)
    cell = np.repeat(np.arange(200), 2)
    times = np.exp(rng.normal(cell / 50, 0.2))
    assert pooled_spread(cells_of(times, times, cell, 200)) == pytest.approx(0.2, rel=0.15)


@pytest.mark.parametrize("truth", [1.5, 2.0, 2.7])
@pytest.mark.parametrize("runs", [2, 3, 5])
def test_intervals_of_a_few_epochs_checked_once_per_epoch_hold_the_truth(truth, runs):
    rng = np.random.default_rng(4)
    low, high = seen(truth * np.exp(0.1 * rng.standard_normal((60, runs))), 1.0)
    got = typical_times(low.ravel(), high.ravel(), np.repeat(np.arange(60), runs))
    low_end, high_end = np.nan_to_num(got.low), np.nan_to_num(got.high, nan=np.inf)
    assert np.mean((low_end <= truth) & (truth <= high_end)) > 0.92 - 3 * math.sqrt(0.92 * 0.08 / 60)
