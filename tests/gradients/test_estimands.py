"""Formulas against explicit gradients: identities to rounding, unbiasedness by enumerating every sample."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from batchscope.errors import InputError
from batchscope.gradients import estimands
from batchscope.gradients.estimands import Moments, NoiseEstimate

Array = NDArray[np.float64]


def random_gradients(seed: int, num_examples: int, dim: int) -> Array:
    rng = np.random.default_rng(seed)
    return rng.normal(size=dim) + rng.normal(size=(num_examples, dim)) * rng.exponential(size=(num_examples, 1))


def moments_of(g: Array) -> Moments:
    return Moments(len(g), float((g**2).sum()), float((g.sum(0) ** 2).sum()))


def triple(g: Array) -> tuple[int, float, float]:
    m = moments_of(g)
    return m.num_examples, m.sum_sq_norms, m.sq_norm_sum


gradients = st.builds(random_gradients, st.integers(0, 2**32 - 1), st.integers(2, 13), st.integers(1, 11))


@given(gradients)
def test_plug_in_against_the_covariance_written_out(g: Array) -> None:
    m, mean = moments_of(g), g.mean(0)
    covariance = np.cov(g.T, bias=True).reshape(g.shape[1], g.shape[1])
    assert m.trace_covariance == pytest.approx(np.trace(covariance), rel=1e-9)
    assert m.sq_norm_mean == pytest.approx(mean @ mean, rel=1e-12)
    assert m.simple_noise_scale == pytest.approx(np.trace(covariance) / (mean @ mean), rel=1e-6, abs=1e-9)
    assert m.batch_size_bound == 1 + m.simple_noise_scale or m.batch_size_bound - 1 == m.simple_noise_scale
    assert m.batch_size_bound >= 1 - 1e-12
    assert m.batch_size_bound == pytest.approx(len(g) * m.gradient_diversity, rel=1e-14)


@given(gradients, st.floats(1e-6, 1e6))
def test_invariant_under_the_scale_of_the_loss(g: Array, scale: float) -> None:
    assert moments_of(scale * g).batch_size_bound == pytest.approx(moments_of(g).batch_size_bound, rel=1e-9)


@given(gradients, st.integers(2, 5))
def test_repeating_the_data_keeps_the_bound_and_divides_the_diversity(g: Array, times: int) -> None:
    once, repeated = moments_of(g), moments_of(np.tile(g, (times, 1)))
    assert repeated.sum_sq_norms == pytest.approx(times * once.sum_sq_norms)
    assert repeated.sq_norm_sum == pytest.approx(times**2 * once.sq_norm_sum)
    assert repeated.gradient_diversity == pytest.approx(once.gradient_diversity / times)
    assert repeated.batch_size_bound == pytest.approx(once.batch_size_bound)


@pytest.mark.parametrize("n", [1, 2, 7, 13])
def test_equal_gradients_give_one_and_orthonormal_ones_n(n: int) -> None:
    assert moments_of(np.tile([3.0, -2.0, 0.5], (n, 1))).batch_size_bound == pytest.approx(1, rel=1e-14)
    orthonormal = moments_of(np.eye(n))
    assert (orthonormal.gradient_diversity, orthonormal.batch_size_bound) == (1, n)


def test_no_examples_no_gradient_and_gradients_that_cancel() -> None:
    for empty in (Moments(0, 0.0, 0.0), Moments(5, 0.0, 0.0)):
        assert math.isnan(empty.gradient_diversity)
        assert math.isnan(empty.batch_size_bound)
        assert math.isnan(empty.simple_noise_scale)
    assert math.isnan(Moments(0, 0.0, 0.0).trace_covariance)
    assert math.isnan(Moments(0, 0.0, 0.0).sq_norm_mean)
    cancelling = moments_of(np.array([[1.0, 2.0], [-1.0, -2.0]]))
    assert cancelling.gradient_diversity == cancelling.batch_size_bound == cancelling.simple_noise_scale == math.inf
    assert cancelling.trace_covariance == 5


def test_a_parameter_that_could_not_be_measured_makes_the_sum_unavailable() -> None:
    total = Moments.add(3, [Moments(3, 2.0, 1.0), Moments(3, math.nan, 1.0)])
    assert math.isnan(total.sum_sq_norms)
    assert math.isnan(total.batch_size_bound)


def test_adding_moments_of_different_examples_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[3, 4\].*expected 3"):
        Moments.add(3, [Moments(3, 2.0, 1.0), Moments(4, 2.0, 1.0)])
    assert Moments.add(3, []) == Moments(3, 0.0, 0.0)


@pytest.mark.parametrize("m", [2, 3, 5, 7])
def test_unbiased_over_every_sample_of_a_finite_population(m: int) -> None:
    """The mean over all (7 choose m) equally likely samples is the population's value: no simulation."""
    n, population = 7, random_gradients(3, 7, 5)
    samples = [triple(population[list(rows)]) for rows in itertools.combinations(range(n), m)]
    whole = moments_of(population)
    pairs = np.mean([population[i] @ population[j] for i, j in itertools.permutations(range(n), 2)])
    assert np.mean([estimands.unbiased_pair_mean(*s) for s in samples]) == pytest.approx(pairs)
    assert np.mean([estimands.unbiased_sq_norm_mean(*s, n) for s in samples]) == pytest.approx(whole.sq_norm_mean)
    assert np.mean([estimands.unbiased_trace_covariance(*s, n) for s in samples]) == pytest.approx(
        whole.trace_covariance
    )


@pytest.mark.parametrize("m", [2, 3, 4])
def test_unbiased_over_every_draw_from_an_infinite_population(m: int) -> None:
    """Independent draws from 5 equally likely gradients; every sequence enumerated."""
    support = random_gradients(4, 5, 3)
    draws = [triple(support[list(rows)]) for rows in itertools.product(range(5), repeat=m)]
    truth = moments_of(support)
    assert np.mean([estimands.unbiased_sq_norm_mean(*d) for d in draws]) == pytest.approx(truth.sq_norm_mean)
    assert np.mean([estimands.unbiased_trace_covariance(*d) for d in draws]) == pytest.approx(truth.trace_covariance)


@given(gradients)
def test_infinite_population_trace_is_the_sample_covariance(g: Array) -> None:
    expected = np.trace(np.cov(g.T).reshape(g.shape[1], g.shape[1]))
    assert estimands.unbiased_trace_covariance(*triple(g)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(gradients)
def test_a_sample_of_everything_gives_the_plug_in_value(g: Array) -> None:
    n, exact = len(g), moments_of(g)
    assert estimands.sample_batch_size_bound(*triple(g), n) == pytest.approx(exact.batch_size_bound)
    almost = estimands.sample_inverse_bound(*triple(g), n * (1 + 1e-12))  # the general formula, not the special case
    assert almost == pytest.approx(1 / exact.batch_size_bound, abs=1e-9)
    assert estimands.unbiased_trace_covariance(*triple(g), n) == pytest.approx(exact.trace_covariance, abs=1e-9)
    assert estimands.unbiased_sq_norm_mean(*triple(g), n) == pytest.approx(exact.sq_norm_mean, abs=1e-9)


@given(gradients, st.integers(0, 1000))
def test_the_two_roads_to_a_population_agree(g: Array, more: int) -> None:
    """Sample -> ∞ -> n (the finite-n law) is sample -> n."""
    m, n = len(g), len(g) + more
    at_infinity = estimands.bound_at_infinity(m, moments_of(g).batch_size_bound)
    assert 1 / at_infinity == pytest.approx(estimands.sample_inverse_bound(*triple(g)), abs=1e-9)
    assert 1 / estimands.bound_at(n, at_infinity) == pytest.approx(
        estimands.sample_inverse_bound(*triple(g), n), abs=1e-9
    )


def test_finite_n_law_on_known_numbers() -> None:
    assert estimands.bound_at(10, math.inf) == pytest.approx(10)
    assert estimands.bound_at(math.inf, 4.0) == 4.0
    assert estimands.bound_at(1, 4.0) == 1
    assert estimands.bound_at(2, 3.0) == pytest.approx(1.5)  # 1/2 + 1/2 * 1/3 = 2/3
    assert estimands.bound_at_infinity(2, 1.5) == pytest.approx(3.0)
    assert estimands.bound_at_infinity(10, 10.0) == math.inf
    assert math.isnan(estimands.bound_at_infinity(1, 1.0))


def test_plug_in_of_a_sample_saturates_where_the_estimate_does_not() -> None:
    """B_∞ = 401 from samples of 60: the plug-in cannot pass about 60, the pooled estimate finds 401 within 4 s.e."""
    rng, dim, m = np.random.default_rng(7), 50, 60
    samples = [triple(0.05 / math.sqrt(dim) + rng.normal(size=(m, dim)) / math.sqrt(dim)) for _ in range(4000)]
    pairs = np.array([estimands.unbiased_pair_mean(*s) for s in samples])
    squares = np.array([s[1] / m for s in samples])
    inverse, error = pairs.mean() / squares.mean(), pairs.std() / math.sqrt(len(pairs)) / squares.mean()
    assert 4 * error < 0.15 / 401 * 4
    assert abs(inverse - 1 / 401) < 4 * error
    assert np.mean([m * s[1] / s[2] for s in samples]) < 1.2 * m


def test_one_example_has_no_pairs_and_a_negative_estimate_is_not_clamped() -> None:
    assert math.isnan(estimands.unbiased_pair_mean(1, 2.0, 2.0))
    assert math.isnan(estimands.unbiased_trace_covariance(1, 2.0, 2.0))
    assert math.isnan(estimands.sample_batch_size_bound(1, 2.0, 2.0))
    assert math.isnan(estimands.sample_batch_size_bound(0, 0.0, 0.0))
    assert estimands.sample_batch_size_bound(1, 2.0, 2.0, 1) == 1
    assert estimands.unbiased_pair_mean(2, 10.0, 0.0) == -5
    assert estimands.sample_inverse_bound(2, 10.0, 0.0) == -1
    assert math.isnan(estimands.sample_batch_size_bound(2, 10.0, 0.0))
    assert estimands.sample_batch_size_bound(2, 10.0, 0.0, 2) == math.inf
    assert estimands.sample_batch_size_bound(2, 10.0, 10.0) == math.inf
    with pytest.raises(InputError, match="population=3 is smaller than the 5"):
        estimands.sample_inverse_bound(5, 1.0, 1.0, 3)


@given(gradients)
def test_groups_of_one_are_the_per_example_formulas(g: Array) -> None:
    estimate = estimands.grouped_estimate([1] * len(g), list((g**2).sum(1)), triple(g)[2])
    assert estimate.trace_covariance == pytest.approx(estimands.unbiased_trace_covariance(*triple(g)), abs=1e-9)
    assert estimate.sq_norm_mean == pytest.approx(estimands.unbiased_sq_norm_mean(*triple(g)), abs=1e-9)


def test_uneven_groups_and_two_batch_sizes_are_unbiased() -> None:
    """Expected squared norms put in, the truth comes out: both estimators are linear in them."""
    signal, noise, sizes = 0.3, 17.0, [2, 3, 7, 11]
    total = sum(sizes)
    expected = [signal + noise / b for b in sizes]
    uneven = estimands.grouped_estimate(sizes, expected, total**2 * signal + total * noise)
    two = estimands.two_batch_estimate(5, 13, signal + noise / 5, signal + noise / 13)
    for estimate in (uneven, two):
        assert estimate.sq_norm_mean == pytest.approx(signal)
        assert estimate.trace_covariance == pytest.approx(noise)
        assert estimate.simple_noise_scale == pytest.approx(noise / signal)
        assert estimate.batch_size_bound == pytest.approx(1 + noise / signal)


def test_uneven_groups_by_enumeration() -> None:
    """Every assignment of 5 independent draws from 4 gradients to groups of 2 and 3."""
    support, sizes = random_gradients(11, 4, 3), [2, 3]
    truth, estimates = moments_of(support), []
    for rows in itertools.product(range(4), repeat=5):
        g = support[list(rows)]
        means = [g[:2].mean(0), g[2:].mean(0)]
        estimates.append(estimands.grouped_estimate(sizes, [m @ m for m in means], triple(g)[2]))
    pooled = NoiseEstimate.pool(estimates)
    assert pooled.sq_norm_mean == pytest.approx(truth.sq_norm_mean)
    assert pooled.trace_covariance == pytest.approx(truth.trace_covariance)
    assert pooled.simple_noise_scale == pytest.approx(truth.simple_noise_scale)


def test_pooling_divides_once_and_missing_degrees_of_freedom_are_nan() -> None:
    pooled = NoiseEstimate.pool([NoiseEstimate(1.0, 2.0), NoiseEstimate(3.0, 2.0)])
    assert pooled == NoiseEstimate(2.0, 2.0)
    assert pooled.simple_noise_scale == 1.0  # the mean of the ratios would be 4/3
    assert math.isnan(NoiseEstimate.pool([]).simple_noise_scale)
    assert math.isnan(NoiseEstimate(-1.0, 2.0).simple_noise_scale)
    assert NoiseEstimate(0.0, 2.0).batch_size_bound == math.inf
    assert math.isnan(estimands.grouped_estimate([5], [2.0], 50.0).trace_covariance)
    assert math.isnan(estimands.grouped_estimate([], [], 0.0).sq_norm_mean)


@pytest.mark.parametrize(("small", "big"), [(0, 4), (4, 4), (8, 4)])
def test_two_batch_sizes_must_differ(small: int, big: int) -> None:
    with pytest.raises(InputError, match=f"small={small}, big={big}"):
        estimands.two_batch_estimate(small, big, 1.0, 1.0)


def test_groups_need_one_size_each() -> None:
    with pytest.raises(InputError, match="2 sizes"):
        estimands.grouped_estimate([1, 2], [1.0], 1.0)
    with pytest.raises(InputError, match="at least 1"):
        estimands.grouped_estimate([1, 0], [1.0, 1.0], 1.0)


def test_estimands_do_not_import_torch() -> None:
    code = "import sys, batchscope.gradients.estimands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
