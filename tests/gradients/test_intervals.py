"""The interval of a sample: coverage where the truth is known, "at least X", and every case without an interval."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from batchscope.errors import InputError
from batchscope.gradients.estimands import Moments
from batchscope.gradients.intervals import SampleEstimate, jackknife_interval, jackknife_variance, sample_interval
from batchscope.gradients.moments import GradientMoments, MomentsAccumulator

Array = NDArray[np.float64]
DIM = 50


def moments_of(g: Array) -> Moments:
    return Moments(len(g), float((g**2).sum()), float((g.sum(0) ** 2).sum()))


def interval_of(g: Array, num_groups: int, population: float, level: float = 0.95) -> SampleEstimate:
    groups = np.array_split(np.arange(len(g)), num_groups)
    left_out = [moments_of(np.delete(g, group, axis=0)) for group in groups]
    return jackknife_interval(moments_of(g), left_out, population, level)


def draw(rng: np.random.Generator, num_examples: int, bound: float, tail: float = 0.0) -> Array:
    """Gradients mu + noise with tr Σ = 1 and B_∞ = `bound` (for tail = 0), scaled by exp(tail z)."""
    mean = math.sqrt(1 / (bound - 1) / DIM)
    g = mean + rng.normal(size=(num_examples, DIM)) / math.sqrt(DIM)
    return g * np.exp(tail * rng.normal(size=(num_examples, 1)))


def covered(
    repeats: int, num_examples: int, population: float, num_groups: int, bound: float, tail: float = 0.0
) -> tuple[float, float]:
    """Share of nominal 95 % intervals that contain the truth, share without an upper end."""
    rng, hits, open_ended = np.random.default_rng(5), 0, 0
    for _ in range(repeats):
        if math.isinf(population):
            g, truth = draw(rng, num_examples, bound, tail), 1 + (bound - 1)
            truth *= math.exp(tail**2)  # E e^{2tz}/(E e^{tz})² = e^{t²}
        else:
            everyone = draw(rng, int(population), bound, tail)
            g, truth = everyone[:num_examples], moments_of(everyone).batch_size_bound
        estimate = interval_of(g, num_groups, population)
        hits += estimate.low <= truth <= estimate.high
        open_ended += estimate.high == math.inf
    return hits / repeats, open_ended / repeats


def tolerance(repeats: int) -> float:
    """Four standard errors of a 95 % coverage."""
    return 4 * math.sqrt(0.95 * 0.05 / repeats)


@pytest.mark.parametrize(
    ("num_examples", "population", "num_groups", "bound"),
    [(200, math.inf, 20, 11.0), (200, math.inf, 7, 2.0), (320, 400, 10, 11.0)],
)
def test_coverage_is_nominal_where_the_signal_is_clear(
    num_examples: int, population: float, num_groups: int, bound: float
) -> None:
    """The third case fails without the finite-population factor, the second with the normal's quantile."""
    repeats = 1000
    coverage, _ = covered(repeats, num_examples, population, num_groups, bound)
    assert abs(coverage - 0.95) < tolerance(repeats)


def test_coverage_is_not_lost_where_the_sample_cannot_see_the_mean() -> None:
    repeats = 600
    coverage, open_ended = covered(repeats, 101, math.inf, 10, 1001.0)
    assert coverage > 0.95 - tolerance(repeats)
    assert open_ended > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("bound", [2.0, 11.0, 101.0, 1001.0])
@pytest.mark.parametrize(("num_examples", "population"), [(200, math.inf), (1000, math.inf), (1000, 2000), (320, 400)])
@pytest.mark.parametrize("num_groups", [5, 10, 20])
def test_coverage_over_the_grid(num_examples: int, population: float, num_groups: int, bound: float) -> None:
    coverage, _ = covered(500, num_examples, population, num_groups, bound)
    assert coverage > 0.95 - tolerance(500)


@pytest.mark.slow
@pytest.mark.parametrize(("bound", "least"), [(2.0, 0.82), (11.0, 0.88), (101.0, 0.92)])
def test_coverage_with_heavy_tails_is_what_the_docstring_says(bound: float, least: float) -> None:
    assert covered(500, 200, math.inf, 20, bound, tail=0.7)[0] > least


def recorded(g: Array, num_groups: int, batch: int) -> GradientMoments:
    """Two parameters, `w` (the first 30 coordinates) and `b` (the rest)."""
    accumulator = MomentsAccumulator(num_groups)
    for part in torch.from_numpy(g).split(batch):
        pieces = {"w": part[:, :30], "b": part[:, 30:]}
        accumulator.add(
            len(part), {n: p.square().sum() for n, p in pieces.items()}, {n: p.sum(0) for n, p in pieces.items()}
        )
    return accumulator.finish()


def test_from_a_record_in_total_and_per_parameter() -> None:
    g = draw(np.random.default_rng(2), 101, 5.0)
    moments = recorded(g, num_groups=7, batch=5)
    groups = np.arange(101) // 5 % 7
    for names, columns in ((None, slice(None)), (["w"], slice(0, 30)), (["b"], slice(30, None))):
        part = g[:, columns]
        left_out = [moments_of(part[groups != group]) for group in range(7)]
        expected = jackknife_interval(moments_of(part), left_out, 1009, 0.9)
        found = sample_interval(moments, 1009, level=0.9, names=names)
        assert found.bounds == pytest.approx(expected.bounds, rel=1e-9)
        assert found.value == pytest.approx(expected.value, rel=1e-9)
        assert (found.num_examples, found.population, found.num_groups) == (101, 1009, 7)
        assert found.low < found.value < found.high


def test_wider_levels_and_smaller_samples_give_wider_intervals() -> None:
    g = draw(np.random.default_rng(3), 401, 5.0)
    half, most, nearly = (interval_of(g, 10, n, level) for n, level in ((2003, 0.5), (2003, 0.95), (409, 0.95)))
    assert most.low < half.low < half.high < most.high
    assert most.low < nearly.low < nearly.high < most.high


def test_at_least_when_zero_is_not_excluded() -> None:
    estimate = interval_of(draw(np.random.default_rng(1), 101, 10_001.0), 10, math.inf)
    assert estimate.high == math.inf
    assert 1 < estimate.low < 10_001
    assert estimate.statement.startswith(f"B_S at least {estimate.low:.4g} (95 % interval from 101 of an infinite")


def test_opposed_gradients_have_no_estimate_but_a_lower_limit() -> None:
    """Pairs that cancel in part: U < 0, so no finite B_S is supported."""
    g = np.random.default_rng(8).normal(size=(50, DIM))
    g[25:] = -0.9 * g[:25]
    estimate = interval_of(g, 10, math.inf)
    assert math.isnan(estimate.value)
    assert estimate.high == math.inf
    assert estimate.low > 1
    assert "at least" in str(estimate)


def test_equal_gradients_leave_nothing_open() -> None:
    estimate = interval_of(np.tile([3.0, 4.0], (10, 1)), 5, 1000)
    assert (estimate.value, *estimate.bounds) == pytest.approx((1, 1, 1), rel=1e-12)
    assert estimate.low <= estimate.high


def test_everyone_measured_is_exact() -> None:
    g = draw(np.random.default_rng(4), 20, 5.0)
    estimate = sample_interval(recorded(g, 0, 5), 20)
    assert estimate.low == estimate.high == estimate.value == pytest.approx(moments_of(g).batch_size_bound)
    assert estimate.statement.endswith("(exact, all 20 examples)")
    assert "groups" not in estimate.statement


@pytest.mark.parametrize("num_examples", [0, 1, 2])
def test_too_few_examples_have_no_interval(num_examples: int) -> None:
    estimate = sample_interval(recorded(np.ones((num_examples, DIM)), 2, 1), math.inf)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert "too few" in estimate.statement


def test_a_record_without_groups_or_with_one_has_an_estimate_and_no_interval() -> None:
    g = draw(np.random.default_rng(6), 50, 5.0)
    for moments in (recorded(g, 0, 5), recorded(g, 10, 50)):
        estimate = sample_interval(moments, math.inf)
        assert estimate.value > 1
        assert math.isnan(estimate.low)
        assert f"B_S = {estimate.value:.4g}" in str(estimate)


def test_an_unmeasured_parameter_has_no_interval() -> None:
    moments = GradientMoments.from_batch(3, {"w": math.nan}, {"w": torch.ones(2)}, group=0)
    moments = moments.merge(GradientMoments.from_batch(3, {"w": 1.0}, {"w": torch.ones(2)}, group=1))
    estimate = sample_interval(moments, math.inf)
    assert math.isnan(estimate.value)
    assert math.isnan(estimate.low)
    assert estimate.statement.startswith("B_S unknown")


def test_groups_of_no_examples_are_not_counted() -> None:
    g = draw(np.random.default_rng(9), 50, 5.0)
    left_out = [moments_of(np.delete(g, group, axis=0)) for group in np.array_split(np.arange(50), 5)]
    with_empty = jackknife_interval(moments_of(g), [*left_out, moments_of(g)])
    assert with_empty == jackknife_interval(moments_of(g), left_out)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.5])
def test_level_must_be_a_probability(level: float) -> None:
    with pytest.raises(InputError, match="level="):
        jackknife_interval(Moments(3, 1.0, 1.0), [], math.inf, level)


def test_population_cannot_be_smaller_than_the_sample() -> None:
    with pytest.raises(InputError, match="population=40"):
        sample_interval(recorded(draw(np.random.default_rng(6), 50, 5.0), 5, 5), 40)


def test_variance_of_equal_groups_is_the_classical_jackknife() -> None:
    rest = np.random.default_rng(10).normal(size=7)
    classical = 6 / 7 * ((rest - rest.mean()) ** 2).sum()
    assert jackknife_variance(0.3, list(rest), [1 / 7] * 7) == pytest.approx(classical)


def test_variance_of_a_weighted_mean_with_uneven_groups() -> None:
    """For a mean the leave-one-out values are known, and v = (1/k) sum_j w_j/(1 - w_j) (x_j - mean)²."""
    sizes, means = np.array([2.0, 3, 5, 7]), np.array([0.3, -1.0, 2.0, 0.7])
    share, total = sizes / sizes.sum(), (sizes * means).sum() / sizes.sum()
    rest = (total - share * means) / (1 - share)
    expected = (share / (1 - share) * (means - total) ** 2).mean()
    assert jackknife_variance(total, list(rest), list(share)) == pytest.approx(expected)
    assert math.isnan(jackknife_variance(total, [0.1], [1.0]))
