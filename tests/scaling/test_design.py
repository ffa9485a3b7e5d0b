"""Design: the fastest shape, "undecided" where intervals of the ratio include 1, what is left out and why."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from batchscope.analysis import fit_critical_batch
from batchscope.errors import InputError
from batchscope.scaling import StepsCurve, advise, design
from tests.scaling.common import MODEL, curve


def shapes(resamples=201, **b_crits):
    """Curves of equal E_min, with independent resamples."""
    found = {}
    for index, (name, b_crit) in enumerate(b_crits.items()):
        base = curve(s_min=4e5 / b_crit, b_crit=b_crit)
        noise = np.random.default_rng(index).standard_normal((resamples, 3)) * [0.1, 0.1, 0]
        found[name] = replace(base, samples=base.log_parameters + noise)
    return found


def test_the_shape_that_takes_larger_batches_wins_on_many_workers_and_not_on_one():
    fits = shapes(wide=1500.0, deep=150.0)
    models = {"wide": MODEL, "deep": MODEL}
    many = design(models, fits, 32)
    assert (many.best.name, many.decided) == ("wide", True)
    assert many.sentence.startswith("With 32 workers: wide at batch size")
    slow = {"wide": replace(MODEL, per_example=4 * MODEL.per_example), "deep": replace(MODEL, overhead=1e-6)}
    assert design(slow, fits, 1).best.name == "deep"


def test_ratio_and_its_interval_are_of_times_drawn_apart():
    fits = shapes(resamples=4001, wide=1500.0, deep=150.0)
    found = design({"wide": MODEL, "deep": MODEL}, fits, 13)
    wide, deep = (advise(MODEL, fits[name], workers=[13]) for name in ("wide", "deep"))
    ratios = deep.samples[:, -1] / wide.samples[:, -1]
    second = found.candidates[1]
    assert second.ratio == pytest.approx(deep.points[0].seconds / wide.points[0].seconds)
    assert second.ratio_interval == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), rel=0.02)
    assert found.best.ratio_interval == (1, 1)


def test_resamples_that_were_drawn_alike_do_not_make_a_ratio_sure():
    """Fits draw from the same generator: paired row by row, what is unsure of two shapes would cancel."""
    fits = shapes(wide=1500.0, deep=150.0)
    alike = replace(
        fits["deep"], samples=fits["deep"].log_parameters + fits["wide"].samples - fits["wide"].log_parameters
    )
    low, high = design({"wide": MODEL, "deep": MODEL}, fits, 13).candidates[1].ratio_interval
    found = design({"wide": MODEL, "deep": MODEL}, fits | {"deep": alike}, 13).candidates[1].ratio_interval
    assert found == pytest.approx((low, high), rel=0.1)


def test_intervals_of_ratios_hold_the_truth_as_often_as_they_say():
    """80 simulated studies of two shapes, each with runs of its own: 5 seeds (15 %), 10 % of a batch size's own."""
    sizes, truth = np.repeat(2.0 ** np.arange(4, 12), 5), {"one": (1000.0, 300.0), "other": (700.0, 500.0)}
    exact = design(dict.fromkeys(truth, MODEL), {k: StepsCurve.of_numbers(*v) for k, v in truth.items()}, 8)
    times = {candidate.name: candidate.point.seconds for candidate in exact.candidates}
    dice, held = np.random.default_rng(17), []
    for _ in range(80):
        fits = {name: _simulated(dice, sizes, *curve_) for name, curve_ in truth.items()}
        found = design(dict.fromkeys(truth, MODEL), fits, 8)
        low, high = found.candidates[1].ratio_interval
        held.append(low <= times[found.candidates[1].name] / times[found.best.name] <= high)
    assert np.mean(held) >= 0.88


def _simulated(dice, sizes, s_min, b_crit):
    own = np.repeat(dice.normal(0, 0.1, len(sizes) // 5), 5)
    return fit_critical_batch(sizes, s_min * (1 + b_crit / sizes) * np.exp(own + dice.normal(0, 0.15, len(sizes))))


def test_near_shapes_are_undecided_and_both_are_named():
    found = design({"a": MODEL, "b": MODEL}, shapes(a=400.0, b=390.0), 8)
    assert not found.decided
    assert "undecided between" in found.sentence
    assert {"a", "b"} <= set(found.sentence.replace(",", " ").split())
    assert found.as_dict()["decision"] == "undecided"


def test_without_resamples_nothing_is_decided():
    found = design({"a": MODEL, "b": MODEL}, {"a": curve(b_crit=4000), "b": curve(s_min=9e4)}, 8)
    assert math.isnan(found.candidates[1].ratio_interval[0])
    assert not found.decided


def test_shapes_that_cannot_be_judged_are_left_out_with_the_reason():
    never = fit_critical_batch([16, 64], [100, 100], censored=[True, True])
    fits = {**shapes(good=400.0, small=400.0, alone=400.0), "never": never}
    models = {"good": MODEL, "small": replace(MODEL, num_parameters=1000), "never": MODEL}
    found = design(models, fits, 8, budget=1_300_000)
    assert [candidate.name for candidate in found.candidates] == ["good"]
    assert "not within 5 %" in found.left_out["small"]
    assert "no run met the target" in found.left_out["never"]
    assert found.left_out["alone"] == "no time model"
    assert "no other shape" in found.sentence
    json.dumps(found.as_dict(), allow_nan=False)
    with pytest.raises(InputError, match="no run met the target"):
        design(models, {"never": never}, 8)
    with pytest.raises(InputError, match="none given"):
        design({}, {}, 8)


def test_more_workers_than_the_largest_batch_tested_leave_a_shape_out():
    bounded_by_sweep = replace(curve(b_crit=1e6, resamples=3), bounded=False, largest=32.0)
    found = design({"a": MODEL, "b": MODEL}, {"a": bounded_by_sweep, "b": curve(resamples=3)}, 64)
    assert "possible" in found.left_out["a"] or "no batch size" in found.left_out["a"]
    assert found.best.name == "b"
