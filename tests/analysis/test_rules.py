"""The vectorised rules against the plain ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from batchscope.analysis.crossings import first_overhead, isotonic, largest_tested, largest_within

SIZES = np.array([32.0, 64, 128, 256, 512])
costs = st.lists(st.one_of(st.floats(1, 50), st.just(np.inf)), min_size=5, max_size=5)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=7, max_size=7), min_size=1, max_size=3))
def test_isotonic_is_the_least_squares_fit(rows):
    got = isotonic(np.array(rows))
    for row, values in zip(got, rows, strict=True):
        np.testing.assert_allclose(row, optimize.isotonic_regression(values).x, atol=1e-9)


def test_isotonic_keeps_leading_gaps_and_ends_in_infinity_after_a_batch_size_that_never_arrives():
    got = isotonic(np.array([[np.nan, 2.0, 1.0, np.inf, 1.0]]))
    np.testing.assert_array_equal(got, [[np.nan, 1.5, 1.5, np.inf, np.inf]])


@given(st.lists(st.one_of(st.floats(1, 600), st.sampled_from([0.0, np.inf, np.nan])), min_size=1, max_size=5))
def test_the_largest_batch_size_tested_up_to_a_threshold(values):
    for value, got in zip(values, largest_tested(np.array(values), SIZES), strict=True):
        inside = np.isfinite(value) and value >= SIZES[0]
        assert not inside or got == max(size for size in SIZES if size <= value * (1 + 1e-9))
        assert inside or (np.isfinite(value) and 0 < value < SIZES[0]) or np.array_equal(got, value, equal_nan=True)


@given(costs, st.floats(1, 50))
def test_rows_do_not_see_each_other(epochs, limit):
    other = np.array([epochs, [1.0] * 5, epochs[::-1]])
    for rule in (
        lambda values: first_overhead(values, SIZES, 0.2),
        lambda values: largest_within(values, SIZES, limit),
    ):
        together = rule(other)
        np.testing.assert_array_equal(together, np.concatenate([rule(other[k : k + 1]) for k in range(3)]))
