"""Gradient diversity, the batch-size bound, finite samples: identities on real gradients, properties, refusals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.errors import InputError
from batchscope.theory import mccandlish2018, yin2018

BOUNDS = st.floats(1.0, 1e6)


def gradients(n, seed=3, mean=0.3):
    return np.random.default_rng(seed).standard_normal((n, 5)) + mean


def bound_of(g):
    return yin2018.batch_size_bound(len(g), np.sum(g * g), np.sum(g.sum(axis=0) ** 2))


def test_diversity_of_orthogonal_equal_and_cancelling_gradients():
    assert bound_of(np.eye(7)) == 7
    assert bound_of(np.ones((7, 3))) == 1
    assert bound_of(np.array([[1.0], [-1.0]])) == math.inf
    assert math.isnan(bound_of(np.zeros((3, 2))))


def test_repeating_the_data_or_scaling_the_loss_changes_nothing():
    g = gradients(11)
    assert bound_of(np.concatenate([g, g, g])) == pytest.approx(bound_of(g))
    assert bound_of(17.0 * g) == pytest.approx(bound_of(g))


def test_lemma_1_is_the_second_moment_of_a_sampled_step():
    """Averaging ‖Σ_{j<=B} g_{i_j}‖² over all B-tuples (n = 5, B = 3, enumerated) gives B M² (1 + (B-1)/B_S) exactly."""
    g, B = gradients(5), 3
    tuples = np.stack(np.meshgrid(*[np.arange(5)] * B), axis=-1).reshape(-1, B)
    second_moment = np.mean(np.sum(g[tuples].sum(axis=1) ** 2, axis=1))
    serial = B * np.mean(np.sum(g * g, axis=1))
    assert second_moment == pytest.approx(serial * yin2018.suboptimality_factor(B, bound_of(g)), rel=1e-12)


@given(bound=BOUNDS, delta=st.floats(0, 100))
def test_the_largest_valid_batch_is_valid_and_the_next_is_not(bound, delta):
    B = yin2018.largest_batch_size(bound, delta)
    assert yin2018.suboptimality_factor(B, bound) <= 1 + delta + 1e-9
    assert yin2018.suboptimality_factor(B + 1, bound) > 1 + delta - 1e-9


def test_an_infinite_bound_allows_any_batch():
    assert yin2018.largest_batch_size(math.inf, 0.1) == math.inf
    assert yin2018.largest_batch_size(math.inf, 0) == 1
    assert yin2018.suboptimality_factor(10**9, math.inf) == 1


@given(limit=st.floats(1.0, 1e4), n=st.integers(2, 10**5))
def test_limit_and_finite_sample_are_inverse(limit, n):
    finite = yin2018.at_num_examples(limit, n)
    assert 1 <= finite <= n + 1e-9
    assert yin2018.limit_from(finite, n) == pytest.approx(limit, rel=1e-6)


def test_finite_n_law_of_exchangeable_gradients_exactly():
    """Averages over all pairs of rows: n = 2 from the population of 5 (drawn with replacement) is an exact case."""
    g = gradients(5)
    pairs = [(i, j) for i in range(5) for j in range(5)]
    S1 = np.mean([np.sum(g[[i, j]] ** 2) for i, j in pairs])
    Q = np.mean([np.sum((g[i] + g[j]) ** 2) for i, j in pairs])
    limit = np.mean(np.sum(g * g, axis=1)) / np.sum(g.mean(axis=0) ** 2)
    assert yin2018.at_num_examples(limit, 2) == pytest.approx(yin2018.batch_size_bound(2, S1, Q), rel=1e-12)


def test_subsamples_are_corrected_to_the_population():
    """All 84 subsamples of 3 of 9, without replacement: the ratio of averages, corrected, is the population's value."""
    g = gradients(9, mean=0.5)
    chosen = [list(rows) for rows in itertools.combinations(range(9), 3)]
    S1 = np.mean([np.sum(g[rows] ** 2) for rows in chosen])
    Q = np.mean([np.sum(g[rows].sum(axis=0) ** 2) for rows in chosen])
    measured = yin2018.batch_size_bound(3, S1, Q)
    assert measured < 0.8 * bound_of(g)
    assert yin2018.correct_subsample(measured, 3, 9) == pytest.approx(bound_of(g), rel=1e-12)
    assert yin2018.correct_subsample(measured, 3, 3) == pytest.approx(measured)


def test_opposing_gradients_have_a_negative_limit_and_none_is_clamped():
    assert yin2018.limit_from(12.0, 10) < 0
    assert yin2018.limit_from(10.0, 10) == math.inf
    assert yin2018.at_num_examples(math.inf, 10) == 10
    assert yin2018.at_num_examples(yin2018.limit_from(12.0, 10), 10) == pytest.approx(12)


def test_gradient_noise_raises_the_bound_of_aligned_gradients_and_lowers_that_of_opposing_ones():
    assert yin2018.with_gradient_noise(4.0, 100, 1.0) > 4
    assert yin2018.with_gradient_noise(12.0, 10, 1.0) < 12
    assert yin2018.with_gradient_noise(4.0, 100, 0) == pytest.approx(4)
    g, rng = gradients(30), np.random.default_rng(1)
    noise = rng.standard_normal((20_000, *g.shape)) * math.sqrt(2 * np.mean(g * g))
    noisy = g + noise
    Q = np.sum(noisy.sum(axis=1) ** 2, axis=1)
    expected = yin2018.with_gradient_noise(bound_of(g), 30, 2.0)
    assert yin2018.batch_size_bound(30, np.sum(noisy**2) / 20_000, Q.mean()) == pytest.approx(expected, rel=0.03)


@given(bound=BOUNDS)
def test_noise_scale_and_bound_differ_by_one(bound):
    noise_scale = mccandlish2018.noise_scale_from_bound(bound)
    assert mccandlish2018.bound_from_noise_scale(noise_scale) == pytest.approx(bound)


def test_the_link_on_actual_gradients():
    g = gradients(13)
    n, S1, Q = 13, np.sum(g * g), np.sum(g.sum(axis=0) ** 2)
    trace = np.trace(np.cov(g.T, bias=True))
    assert trace == pytest.approx(S1 / n - Q / n**2)
    noise_scale = mccandlish2018.simple_noise_scale(trace, Q / n**2)
    assert noise_scale == pytest.approx(mccandlish2018.noise_scale_from_bound(bound_of(g)))
    assert mccandlish2018.simple_noise_scale(1.0, 0) == math.inf
    assert math.isnan(mccandlish2018.simple_noise_scale(0, 0))


@given(B=st.floats(1, 1e5), s_min=st.floats(1, 1e5), b_crit=st.floats(1, 1e5))
def test_steps_and_examples_trade_off(B, s_min, b_crit):
    S, E = mccandlish2018.steps_to_target(B, s_min, b_crit), mccandlish2018.examples_to_target(B, s_min, b_crit)
    e_min = s_min * b_crit
    assert (S / s_min - 1) * (E / e_min - 1) == pytest.approx(1, rel=1e-6)
    assert mccandlish2018.critical_batch_size(s_min, e_min) == pytest.approx(b_crit)
    assert s_min / S == pytest.approx(mccandlish2018.step_efficiency(B, b_crit))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: yin2018.gradient_diversity(-1, 2), "sum_sq_norms must be"),
        (lambda: yin2018.gradient_diversity(1, math.nan), "sq_norm_sum must be"),
        (lambda: yin2018.batch_size_bound(0, 1, 2), "num_examples must be >= 1"),
        (lambda: yin2018.suboptimality_factor(0, 5), "batch_size must be >= 1"),
        (lambda: yin2018.suboptimality_factor(3, 0.2), "must be >= 1"),
        (lambda: yin2018.suboptimality_factor(3, math.nan), "must be >= 1"),
        (lambda: yin2018.largest_batch_size(5, -0.1), "delta must be"),
        (lambda: yin2018.limit_from(1, 1), "num_examples must be >= 2"),
        (lambda: yin2018.correct_subsample(5, 10, 9), "population = 9 is smaller"),
        (lambda: yin2018.with_gradient_noise(5, 10, -1), "noise_ratio must be"),
        (lambda: mccandlish2018.noise_scale_from_bound(0.5), "must be >= 1"),
        (lambda: mccandlish2018.bound_from_noise_scale(-0.5), "must be >= 0"),
        (lambda: mccandlish2018.simple_noise_scale(-1, 1), "trace_covariance must be"),
        (lambda: mccandlish2018.steps_to_target(0, 1, 1), "batch_size must be"),
        (lambda: mccandlish2018.critical_batch_size(0, 1), "s_min must be"),
        (lambda: mccandlish2018.step_efficiency(-1, 1), "batch_size must be"),
    ],
)
def test_refusals(call, reason):
    with pytest.raises(InputError, match=reason):
        call()
