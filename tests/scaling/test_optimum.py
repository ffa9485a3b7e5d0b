"""The best batch size: closed form and bisection against trying every batch size, limits, invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from batchscope.errors import InputError
from batchscope.scaling import optimum
from batchscope.scaling.optimum import best_batch, is_closed, seconds_to_target, whole_workers
from tests.scaling.common import MODEL, curve

WORKERS = np.array([1.0, 2, 3, 7, 16, 61])
PATTERNS = ["ring", "tree", "parameter_server"]


def tried(model, steps, workers):
    """The least time over a fine grid of batch sizes, straight from the definition."""
    grid = np.geomspace(workers, min(1e7, workers * model.max_local_batch), 20_001)
    s_min, e_min, alpha = np.exp(steps.log_parameters)
    needed = s_min * (1 + (e_min / s_min / grid) ** alpha) ** (1 / alpha)
    computing = model.overhead + model.per_example * grid / workers
    times = needed * (computing**model.overlap + float(model.exchanging(workers)) ** model.overlap) ** (
        1 / model.overlap
    )
    return grid[times.argmin()], times.min()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("overlap", [1.0, 1.7, 10.0])
@pytest.mark.parametrize("sharpness", [1.0, 2.3])
@pytest.mark.parametrize("memory", [np.inf, 13.0])
def test_best_batch_is_the_best_of_all_tried(pattern, overlap, sharpness, memory):
    model = replace(MODEL, pattern=pattern, overlap=overlap, max_local_batch=memory)
    steps = curve(sharpness=sharpness)
    best = best_batch(model, steps, WORKERS)
    times = seconds_to_target(model, steps, best, WORKERS)
    for k, workers in enumerate(WORKERS):
        size, least = tried(model, steps, workers)
        assert times[0, k] <= least * (1 + 1e-9)
        assert times[0, k] == pytest.approx(least, rel=1e-5)
        assert best[0, k] == pytest.approx(size, rel=0.01)


def test_closed_form_is_the_bisection(monkeypatch):
    steps = curve(resamples=11)
    assert is_closed(MODEL, steps)
    closed = best_batch(MODEL, steps, WORKERS)
    monkeypatch.setattr(optimum, "is_closed", lambda model, curve: False)
    assert best_batch(MODEL, steps, WORKERS) == pytest.approx(closed, rel=1e-9)


def test_least_time_in_closed_form():
    """(sqrt(S_min A) + sqrt(E_min c/P))^2, derived apart from the batch size."""
    steps = curve()
    s_min, e_min = 1009.0, 1009.0 * 383.0
    fixed = MODEL.overhead + MODEL.exchanging(WORKERS)
    expected = (np.sqrt(s_min * fixed) + np.sqrt(e_min * MODEL.per_example / WORKERS)) ** 2
    got = seconds_to_target(MODEL, steps, best_batch(MODEL, steps, WORKERS), WORKERS)[0]
    assert got == pytest.approx(expected, rel=1e-12)


def test_slower_clocks_change_no_batch_size():
    """All times per step multiplied by 7: the same batch sizes, 7 times the time to target. Steps likewise."""
    slow = replace(
        MODEL,
        overhead=7 * MODEL.overhead,
        per_example=7 * MODEL.per_example,
        latency=7 * MODEL.latency,
        bandwidth=MODEL.bandwidth / 7,
    )
    for overlap in (1.0, 3.0):
        one, other = replace(MODEL, overlap=overlap), replace(slow, overlap=overlap)
        sizes = best_batch(one, curve(), WORKERS)
        assert best_batch(other, curve(), WORKERS) == pytest.approx(sizes, rel=1e-9)
        assert best_batch(one, curve(s_min=3 * 1009.0), WORKERS) == pytest.approx(sizes, rel=1e-9)
        assert seconds_to_target(other, curve(), sizes, WORKERS) == pytest.approx(
            7 * seconds_to_target(one, curve(), sizes, WORKERS)
        )


def test_free_exchange_and_no_overhead_scale_perfectly():
    """Without anything to pay per step, one example per worker is best, and P workers take S(P) steps of c seconds."""
    free = replace(MODEL, overhead=0.0, latency=0.0, bandwidth=np.inf)
    sizes = best_batch(free, curve(), WORKERS)
    assert sizes[0] == pytest.approx(WORKERS)
    assert seconds_to_target(free, curve(), sizes, WORKERS)[0] == pytest.approx(
        1009 * (1 + 383 / WORKERS) * MODEL.per_example
    )


def test_curve_without_bound_is_used_between_the_batch_sizes_tested_only():
    steps = replace(curve(b_crit=1e7), bounded=False)
    sizes = best_batch(MODEL, steps, np.array([1.0, 8, 5000]))[0]
    assert sizes[:2].tolist() == [4096, 4096]
    assert np.isnan(sizes[2])  # more workers than examples in the largest batch tested


@pytest.mark.parametrize("workers", [[], [0], [1.5], [-3], [4097], [float("nan")], range(5, 5)])
def test_workers_that_cannot_be_are_refused(workers):
    with pytest.raises(InputError, match="expected whole numbers from 1"):
        whole_workers(workers)


def test_workers_are_sorted_without_repeats():
    assert whole_workers([7, 2, 2]).tolist() == [2, 7]
