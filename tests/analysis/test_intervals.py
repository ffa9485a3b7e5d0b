"""Resampling against the slow way."""

import math

import numpy as np
import pytest

from batchscope.analysis import intervals
from batchscope.analysis.formatting import bounds_text, probability_text


def test_resampled_medians_have_the_distribution_of_drawing_one_by_one():
    rng = np.random.default_rng(2)
    values, cell = rng.standard_normal(15), np.repeat([0, 1, 2], 5)
    samples = intervals.resampled_medians(rng, values, cell, 20_000)
    drawn = [np.mean([np.median(rng.choice(values[cell == k], 5)) for k in range(3)]) for _ in range(4_000)]
    assert samples.mean() == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / math.sqrt(4_000))
    assert samples.std() == pytest.approx(np.std(drawn), rel=0.06)


def test_quantiles_are_values_of_the_sample_even_at_infinity():
    samples = np.array([1.0] * 50 + [2.0] * 40 + [math.inf] * 10)
    assert intervals.quantile_interval(samples) == (1.0, math.inf)
    assert intervals.quantile_interval(samples, level=0.5) == (1.0, 2.0)
    assert all(map(math.isnan, intervals.quantile_interval(np.array([math.nan]))))
    assert all(map(math.isnan, intervals.quantile_interval(np.empty(0))))


def test_few_runs_widen_the_interval():
    samples = np.random.default_rng(3).standard_normal(10_000)
    low, high = intervals.quantile_interval(samples, per_group=5)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(5 / 4), rel=0.05)


def test_probability_counts_ties_half_and_leaves_out_the_unknown():
    first = np.array([2.0, 1.0, math.inf, math.nan, 3.0])
    second = np.array([1.0, 1.0, math.inf, 1.0, 4.0])
    assert intervals.probability_greater(first, second) == (0.5, 0.5)
    assert all(map(math.isnan, intervals.probability_greater(first[3:4], second[3:4])))


def test_open_ratios_widen_the_interval_to_both_sides():
    both_out = np.full(100, math.inf)
    assert intervals.ratio_interval(both_out, both_out) == (0.0, math.inf)
    assert intervals.ratio_interval(np.full(100, 8.0), np.full(100, 2.0)) == (4.0, 4.0)


@pytest.mark.parametrize(
    ("runs", "shapes", "expected"), [(0, 0, 1000), (50, 2, 1000), (100_000, 1, 100), (50, 50, 200)]
)
def test_resamples_shrink_with_the_study(runs, shapes, expected):
    assert intervals.num_resamples(runs, shapes) == expected


def test_a_ratio_below_every_number_has_no_bounds():
    assert bounds_text((0.0, 0.0)) == bounds_text((math.inf, math.inf)) == ""
    assert bounds_text((0.0, 2.0)) == "[no lower bound, 2]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.50"),
        (0.97, "0.97"),
        (0.994, "0.99"),
        (0.996, "0.996"),
        (0.004, "0.004"),
        (1.0, "> 0.999"),
        (0.0, "< 0.001"),
        (math.nan, "-"),
    ],
)
def test_no_probability_is_printed_as_certain(value, text):
    assert probability_text(value) == text


def test_bias_is_corrected_to_where_the_value_is_the_median():
    samples = np.random.default_rng(5).normal(1.0, 1.0, 4000)
    moved = intervals.bias_corrected(samples, 0.0)
    assert np.median(moved) == pytest.approx(-1.0, abs=0.1)  # twice as far off as the value is
    assert set(moved) <= set(samples)
    assert np.corrcoef(moved, samples)[0, 1] > 0.95
    np.testing.assert_array_equal(intervals.bias_corrected(samples, np.median(samples)).argsort(), samples.argsort())
    assert len(intervals.bias_corrected(np.empty(0), 1.0)) == 0
