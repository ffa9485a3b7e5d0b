"""The budget equation, its solver and its reverse, against the paper's shapes and brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.architectures import count_parameters, count_weights, shapes_within, solve_depth, solve_width
from batchscope.errors import InputError

sizes = st.integers(1, 997)
depths = st.integers(1, 13)


def test_the_papers_shapes():
    assert [solve_width(16_384, depth, 784, 10) for depth in (1, 10)] == [21, 17]  # Figure 3: K from 17 to 21
    assert [solve_width(262_144, depth, 5000, 2) for depth in (1, 10)] == [52, 48]  # Gisette


@given(depths, sizes, sizes, st.integers(1, 89))
def test_solving_the_weights_of_a_shape_gives_back_the_shape(depth, d_in, d_out, width):
    budget = count_weights(d_in, d_out, depth, width)
    assert solve_width(budget, depth, d_in, d_out) == width
    assert solve_depth(budget, width, d_in, d_out) == depth


@given(depths, sizes, sizes, st.integers(1, 5000))
def test_width_is_the_integer_nearest_to_the_root(depth, d_in, d_out, budget):
    def excess(width):
        return d_in * width + (depth - 1) * width**2 + width * d_out - budget

    try:
        width = solve_width(budget, depth, d_in, d_out)
    except InputError:
        assert excess(0.5) > 0
    else:
        assert excess(width - 0.5) <= 1e-6
        assert excess(width + 0.5) >= -1e-6


@given(st.integers(50, 3000), st.integers(1, 31), st.integers(1, 11), st.floats(0, 0.5))
def test_shapes_within_finds_exactly_those_of_a_full_search(budget, d_in, d_out, tolerance):
    brute = [
        (depth, width)
        for depth in (1, 3, 7)
        for width in range(1, 3001)
        if abs(count_weights(d_in, d_out, depth, width) - budget) <= tolerance * budget
    ]
    assert shapes_within(budget, d_in, d_out, (1, 3, 7), tolerance) == brute


def test_biases_add_one_per_unit_and_output():
    assert count_parameters(7, 3, 2, 5) - count_weights(7, 3, 2, 5) == 5 + 5 + 3


def test_too_small_a_budget_says_what_one_unit_takes():
    with pytest.raises(InputError, match="one unit per layer takes 803"):
        solve_width(100, 10, 784, 10)
