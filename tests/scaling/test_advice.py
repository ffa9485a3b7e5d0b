"""Advice: gains and saturation against their definitions, intervals against the resamples, what is said in words."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from batchscope.analysis import fit, fit_critical_batch
from batchscope.errors import InputError
from batchscope.records.plain import runs
from batchscope.scaling import StepsCurve, advise
from tests.scaling.common import MODEL, curve

MANY = 61


def times(model, steps, most=MANY):
    """Least time for every number of workers, by the closed form of the time itself, [1 + R, most]."""
    workers = np.arange(1, most + 1)
    s_min, e_min = np.exp(steps.all_parameters[:, :1]), np.exp(steps.all_parameters[:, 1:2])
    fixed = model.overhead + model.exchanging(workers)
    return (np.sqrt(s_min * fixed) + np.sqrt(e_min * model.per_example / workers)) ** 2


def test_points_are_times_gains_and_costs_by_their_definitions():
    expected = times(MODEL, curve())[0]
    advice = advise(MODEL, s_min=1009, b_crit=383, workers=range(1, MANY + 1), price=2.9)
    assert [point.workers for point in advice.points] == list(range(1, MANY + 1))
    assert [point.seconds for point in advice.points] == pytest.approx(expected)
    assert [point.speedup for point in advice.points] == pytest.approx(expected[0] / expected)
    assert [point.cost for point in advice.points] == pytest.approx(np.arange(1, MANY + 1) * expected / 3600 * 2.9)
    idle = [min(expected[: count + 1]) for count in range(MANY)]  # workers that would not help are left idle
    assert [point.gain for point in advice.points[1:]] == pytest.approx([1 - b / a for a, b in pairwise(idle)])
    assert math.isnan(advice.points[0].gain)
    assert advice.fastest.workers == expected.argmin() + 1
    assert math.isnan(advice.points[5].interval[0])


def test_gains_are_against_one_worker_fewer_whatever_was_asked_for():
    every = advise(MODEL, curve(), workers=range(1, 33))
    some = advise(MODEL, curve(), workers=[8, 32])
    assert [p for p in every.points if p.workers in (8, 32)] == list(some.points)
    assert some.saturation == every.saturation


def test_intervals_are_quantiles_over_the_resamples():
    steps = curve(resamples=401)
    advice = advise(MODEL, steps, workers=[7, MANY], worth=0.02)
    expected = times(MODEL, steps)[1:, 6]
    assert advice.points[0].interval == pytest.approx(np.quantile(expected, [0.025, 0.975]), rel=0.01)
    last = [_saturation(row, 0.02) for row in times(MODEL, steps)]
    assert advice.saturation.workers == last[0]
    assert advice.saturation.interval == tuple(np.sort(last[1:])[[10, 390]])
    assert advice.saturation.interval[0] < last[0] < advice.saturation.interval[1]


def _saturation(row, worth):
    least = np.minimum.accumulate(row)
    return max([count + 2 for count in range(len(row) - 1) if 1 - least[count + 1] / least[count] >= worth], default=1)


def test_more_bandwidth_saturates_later():
    saturations = [
        advise(replace(MODEL, bandwidth=bandwidth), curve(), workers=range(1, 129)).saturation.workers
        for bandwidth in (1e8, 1e9, 1e10, 1e11)
    ]
    assert saturations == sorted(saturations)
    assert saturations[0] < saturations[-1]


def test_a_larger_critical_batch_size_saturates_later_and_a_fixed_batch_earliest():
    """The motive of Chen et al. 2018, section 1: at a fixed batch the gains end; a larger batch restores them."""
    small, large = (advise(MODEL, s_min=1009, b_crit=b, workers=range(1, 129)) for b in (383, 3830))
    fixed = advise(MODEL, s_min=1009, b_crit=383, workers=range(1, 129), batch_size=64)
    assert fixed.saturation.workers < small.saturation.workers < large.saturation.workers
    assert fixed.points[63].seconds > fixed.fastest.seconds  # it even gets slower
    assert math.isnan(fixed.points[64].seconds)  # 65 workers have nothing to do at a batch size of 64
    assert "No time for 65 to 128 workers" in "\n".join(fixed.notes)


def test_no_worker_helps_where_the_exchange_costs_more_than_it_saves():
    advice = advise(replace(MODEL, bandwidth=1e5), curve(), workers=range(1, 17))
    assert advice.sentence.startswith("no number of workers up to 16 is faster than one")
    assert advice.saturation.workers == 1
    assert {point.gain for point in advice.points[1:]} == {0}


def test_saturation_beyond_the_range_is_said_not_numbered():
    advice = advise(replace(MODEL, bandwidth=1e13, latency=0.0), curve(), workers=range(1, 5))
    assert advice.saturation.text == "> 4"
    assert "Up to 4 workers, each still saves at least 3 %" in advice.sentence


def test_deadline_takes_the_fewest_workers_and_says_what_the_interval_says():
    steps = curve(resamples=201)
    all_times = times(MODEL, steps)
    deadline = float(all_times[0, 4] * 1.0001)
    advice = advise(MODEL, steps, workers=range(1, MANY + 1), deadline=deadline)
    assert advice.in_time.workers == 5
    assert advice.in_time_surely.workers > 5
    assert advice.in_time_surely.interval[1] <= deadline
    assert f"; by the upper end of the interval {advice.in_time_surely.workers}." in advice.sentence
    assert "No number of workers up to 61" in advise(MODEL, steps, workers=[MANY], deadline=1e-3).sentence


def test_memory_limits_the_batch_of_each_worker():
    advice = advise(replace(MODEL, max_local_batch=5), curve(), workers=[1, 3, 31])
    assert [point.batch_size for point in advice.points] == [5, 15, 155]
    fixed = advise(replace(MODEL, max_local_batch=5), curve(), workers=range(1, 33), batch_size=64)
    assert fixed.reference == 13  # the fewest that hold 64 examples
    assert fixed.points[12].speedup == 1
    assert "No time for 1 to 12 workers" in fixed.notes[-1]
    with pytest.raises(InputError, match=r"batch size 64 is not possible .*memory takes 5 examples"):
        advise(replace(MODEL, max_local_batch=5), curve(), workers=[2], batch_size=64)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (range(1, 17), "1 and 9 to 16 workers"),
        ([2, 4, 16, 64], "16 to 64 workers"),
        ([1, 2], "1 worker"),
        ([1, 2, 9], "1 and 9 workers"),
    ],
)
def test_numbers_of_workers_without_a_time_are_named_and_no_others(asked, words):
    """8 examples, at most 4 for a worker: 2 to 8 workers can share them."""
    advice = advise(replace(MODEL, max_local_batch=4), curve(), workers=asked, batch_size=8)
    assert advice.notes[-1] == f"No time for {words}: no batch size fits both them and the limits on it."


def test_no_batch_is_larger_than_the_training_set():
    free, limited = curve(b_crit=20_000, resamples=50), replace(curve(b_crit=20_000), largest_possible=3000)
    unlimited = advise(MODEL, free, workers=[1, 8, 16, 4000])
    advice = advise(MODEL, replace(free, largest_possible=3000), workers=[1, 8, 16, 4000])
    assert unlimited.points[2].batch_size > 3000
    assert [point.batch_size for point in advice.points[1:3]] == [3000, 3000]
    assert advice.points[0].seconds == unlimited.points[0].seconds
    assert advice.points[2].seconds == pytest.approx(float(limited.steps(3000)[0, 0] * MODEL.step(3000, 16)))
    assert "The batch for 8 to 16 workers is the whole training set, 3000 examples." in advice.notes
    assert "No time for 4000 workers" in advice.notes[-1]
    with pytest.raises(InputError, match="the training set holds 3000 examples"):
        advise(MODEL, limited, workers=[4], batch_size=3001)


def test_extrapolation_is_said():
    advice = advise(replace(MODEL, measured_workers=2), curve(), workers=[4, 8, 9, 60])
    assert [point.extrapolated_workers for point in advice.points] == [False, False, True, True]
    assert "Extrapolated from 9 workers on" in "\n".join(advice.notes)
    narrow = replace(curve(), largest=100.0)
    advice = advise(MODEL, narrow, workers=[1, 16])
    assert [point.extrapolated_batch for point in advice.points] == [p.batch_size > 100 for p in advice.points]
    assert "16 to 100" in "\n".join(advice.notes)
    assert not advise(MODEL, s_min=100, b_crit=10, workers=[16]).points[0].extrapolated_batch  # nothing was tested


@pytest.mark.parametrize(("size", "expected"), [({"num_examples": 1437}, 1437), ({}, math.inf)])
def test_the_size_of_the_training_set_comes_with_the_fit_where_it_is_known(size, expected):
    batches = [16, 64, 256, 1024]
    table = {"batch_size": batches, "seed": [1] * 4, "steps": [1030, 380, 210, 170], "reached": [True] * 4}
    fitted = next(iter(fit(runs(table, **size)).values()))
    assert StepsCurve.of_fit(fitted).limits() == (0, expected)


def test_a_fit_is_carried_through_and_what_it_leaves_open_is_said():
    batches = [16, 64, 256, 1024] * 3
    fitted = fit_critical_batch(batches, [103, 38, 21, 17, 99, 41, 22, 16, 107, 36, 20, 18], resamples=100)
    advice = advise(MODEL, fitted, workers=[1, 4])
    low, high = advice.points[0].interval
    assert low < advice.points[0].seconds < high
    unbounded = fit_critical_batch(batches, [4096 / b for b in batches], resamples=100)
    assert unbounded.b_crit == math.inf
    advice = advise(MODEL, unbounded, workers=range(1, 2049))
    assert max(np.nan_to_num([point.batch_size for point in advice.points])) == 1024
    assert "still fall in proportion" in advice.notes[0]
    flat = fit_critical_batch(batches, [100.0] * 12, resamples=100)
    assert flat.b_crit == 0
    advice = advise(MODEL, flat, workers=[1, 4])
    assert [point.batch_size for point in advice.points] == [16, 16]
    assert "do not depend on the batch size" in advice.notes[0]
    with pytest.raises(InputError, match="no run met the target"):
        advise(MODEL, fit_critical_batch([16, 64], [100, 100], censored=[True, True]))


def test_resamples_without_a_curve_say_nothing():
    steps = curve(resamples=40)
    broken = replace(steps, samples=np.vstack([steps.samples, np.full((7, 3), np.nan)]))
    whole, with_gaps = (advise(MODEL, one, workers=[1, 9]) for one in (steps, broken))
    assert str(whole.points) == str(with_gaps.points)
    assert whole.saturation == with_gaps.saturation


@pytest.mark.parametrize(
    "options",
    [{}, {"s_min": 10}, {"s_min": -1, "b_crit": 5}, {"s_min": 10, "b_crit": math.inf}]
    + [{"s_min": 1e300, "b_crit": 5}, {"s_min": 10, "b_crit": 1e-300}, {"fit": curve(), "batch_size": 2.5}]
    + [{"fit": curve(), name: bad} for name in ("batch_size", "price", "deadline", "worth") for bad in (0, math.nan)]
    + [{"fit": curve(), name: 1e300} for name in ("batch_size", "price", "deadline")],
)
def test_numbers_that_cannot_be_are_refused(options):
    with pytest.raises(InputError):
        advise(MODEL, **options)


def test_json_has_no_infinities():
    record = advise(MODEL, curve(), workers=[1, 2], price=1, deadline=1e-9, name="net").as_dict()
    assert json.loads(json.dumps(record, allow_nan=False))["name"] == "net"


def test_curve_of_numbers_is_the_formula():
    steps = StepsCurve.of_numbers(101, 307).steps([7, 307])
    assert steps == pytest.approx(np.array([[101 * (1 + 307 / 7), 202]]))
