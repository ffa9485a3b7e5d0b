"""The noise scale as a curve: windows, intervals, "at least", and coverage with the truth known."""

import math

import numpy as np
import pytest

from batchscope.errors import InputError
from batchscope.gradients.estimands import NoiseEstimate, grouped_estimate
from batchscope.gradients.observing.curve import noise_curve, noise_interval

RISE = 35.0, 699.0


def run(rng, num_steps, dimension, batch, groups):
    """A run whose noise scale rises from 35 to 699: (estimates, true tr Σ, true ‖G‖²) of every step.

    Gaussian gradients: ‖ḡ‖² is (σ²/N) noncentral chi², the spread within groups σ²/(K-1) chi², independent of it.
    groups: K; the examples themselves where K = batch.
    """
    place = np.arange(num_steps) / (num_steps - 1)
    trace = np.exp(-place)
    signal = trace / (RISE[0] * (RISE[1] / RISE[0]) ** place)
    variance = trace / dimension
    mean_square = variance / batch * rng.noncentral_chisquare(dimension, batch * signal / variance)
    spread = variance * rng.chisquare(dimension * (groups - 1), size=num_steps) / (groups - 1)
    estimates = [(i, NoiseEstimate(m - s / batch, s)) for i, (m, s) in enumerate(zip(mean_square, spread, strict=True))]
    return estimates, trace, signal


@pytest.mark.parametrize(
    ("num_steps", "dimension", "batch", "groups"),
    [(100, 50, 64, 64), (100, 5, 64, 64), (100, 50, 64, 2), (40, 50, 64, 2)],
)
def test_intervals_cover_the_truth(num_steps, dimension, batch, groups):
    rng = np.random.default_rng(0)
    covered, within = [], []
    for _ in range(300):
        estimates, trace, signal = run(rng, num_steps, dimension, batch, groups)
        for window in noise_curve(estimates):
            steps = slice(window.first, window.last + 1)
            truth = trace[steps].sum() / signal[steps].sum()
            covered.append(window.low <= truth <= window.high)
            within.append(window.high <= 2 * window.low)
    assert np.mean(covered) >= 0.92


def test_a_rise_shows_and_windows_are_as_long_as_needed():
    estimates, _, _ = run(np.random.default_rng(3), 400, 50, 64, 64)
    windows = noise_curve(estimates)
    assert sum(window.num_steps for window in windows) == 400
    assert [w.first for w in windows[1:]] == [w.last + 1 for w in windows[:-1]]
    assert windows[0].high < 100
    assert windows[-1].low > 300
    assert np.mean([w.high <= 2 * w.low for w in windows]) > 0.8
    assert windows[0].num_steps <= 16
    pooled = NoiseEstimate.pool([e for _, e in estimates]).simple_noise_scale
    assert pooled < 150  # one number for the run hides the rise


def test_a_signal_that_noise_hides_gives_at_least():
    estimates = [NoiseEstimate(signal, 1.0) for signal in (0.1, -0.1, 0.05, -0.05, 0.1, -0.12, 0.02, -0.01)]
    value, low, high = noise_interval(estimates)
    assert high == math.inf
    assert 0 < low < math.inf
    assert math.isnan(value) or value > low
    assert "at least" in noise_curve(list(enumerate(estimates)))[0].statement


def test_few_steps_and_wrong_arguments():
    one = [(0, NoiseEstimate(0.1, 1.0))]
    (window,) = noise_curve(one)
    assert window.value == pytest.approx(10)
    assert math.isnan(window.low)
    assert "no interval" in str(window)
    assert noise_curve([]) == ()
    assert noise_curve([(0, NoiseEstimate(math.nan, 1.0))]) == ()
    for options in ({"level": 1.0}, {"spread": 1.0}):
        with pytest.raises(InputError):
            noise_curve(one, **options)


def test_groups_of_a_finite_population_are_unbiased():
    rng = np.random.default_rng(0)
    n, sizes = 23, (5, 7)
    gradients = rng.normal(0.3, 1.0, (n, 4))
    mean = gradients.mean(0)
    truth = float(mean @ mean), float(((gradients - mean) ** 2).sum() / n)
    found = []
    for _ in range(6000):
        sample = gradients[rng.permutation(n)[:12]]
        parts = sample[:5].mean(0), sample[5:].mean(0)
        whole = sample.sum(0)
        estimate = grouped_estimate(sizes, [float(p @ p) for p in parts], float(whole @ whole), population=n)
        found.append((estimate.sq_norm_mean, estimate.trace_covariance))
    error = np.std(found, 0) / math.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, 0) - truth) < 4 * error)
    with pytest.raises(InputError, match="population"):
        grouped_estimate(sizes, [1.0, 1.0], 1.0, population=11)
