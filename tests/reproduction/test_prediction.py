"""Predictions from B_S: on sweeps whose noise scale and curve are planted, and over the committed studies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchscope.analysis import Sweep
from reproduction import evidence, prediction

SIZES, SEEDS, N = np.array([16.0, 64.0, 256.0, 1024.0]), 4, 1 << 14


def planted(noise: float, cost: float, start: float = 3.0) -> Sweep:
    """Epochs grow as 1 + B / cost; B_S along the runs is that of a noise scale."""
    cell = np.repeat(np.arange(len(SIZES)), SEEDS)
    epochs = 10 * (1 + SIZES / cost)[cell]
    steps = np.round(epochs * N / SIZES[cell])
    return Sweep(
        shape="planted",
        depth=1,
        width=2,
        num_weights=3,
        multiply_adds=3,
        num_examples=N,
        target="train loss 1",
        max_epochs=1e4,
        resolution=0.1,
        batch_sizes=SIZES,
        cell=cell,
        epochs=epochs,
        steps=steps,
        steps_before=steps - 1,
        reached=np.ones(len(cell), dtype=bool),
        diverged=np.zeros(len(cell), dtype=bool),
        bounds=np.full(len(cell), noise + 1),
        measured_at=np.tile([0.0, 2.0, 4.0], (len(cell), 1)),
        measured=np.tile([start, 1 + noise / 2, 1 + noise * 2], (len(cell), 1)),
        num_crashed=0,
    )


def test_a_curve_with_the_noise_scale_for_its_critical_batch_is_foretold():
    found = list(prediction.predicted("study", {"planted": planted(200.0, 200.0)}))
    assert [one.batch_size for one in found] == [64, 256, 1024]
    assert [one.by_noise for one in found] == pytest.approx([0, 0, 0], abs=2e-3)
    assert found[-1].by_nothing == pytest.approx(math.log((1 + 1024 / 200) / (1 + 16 / 200)), abs=2e-3)


def test_another_critical_batch_shows_as_an_error():
    found = list(prediction.predicted("study", {"planted": planted(200.0, 50.0)}))
    expected = math.log((1 + 1024 / 50) / (1 + 16 / 50) / ((1 + 1024 / 200) / (1 + 16 / 200)))
    assert found[-1].by_noise == pytest.approx(expected, abs=2e-3)


def test_the_noise_scale_leaves_out_the_start_and_needs_all_runs_of_a_batch_size():
    sweep = planted(200.0, 200.0, start=10**6)
    assert prediction.noise_along(sweep, 0) == pytest.approx(200)
    sweep.measured_at[0, 1:] = np.nan
    assert math.isnan(prediction.noise_along(sweep, 0))
    assert prediction.noise_along(sweep, 1) == pytest.approx(200)


def test_a_typical_factor_is_the_median_whichever_way_the_errors_go():
    def one(shape: str, by_noise: float) -> prediction.Predicted:
        return prediction.Predicted("study", shape, 64.0, by_noise, 0.0)

    found = [one(str(k), sign * math.log(2)) for k in range(5) for sign in (-1, 1)]
    factor, interval = prediction.typical_factor(found, lambda each: each.by_noise)
    assert factor == pytest.approx(2)
    assert interval == pytest.approx((2, 2))
    mixed = [*found, *(one(f"far {k}", 3.0) for k in range(5))]
    factor, (low, high) = prediction.typical_factor(mixed, lambda each: each.by_noise)
    assert low <= factor <= high
    assert high > 2.0


def test_every_committed_study_that_measured_b_s_is_a_panel():
    measured = {
        study.name
        for given in evidence.RUNS
        if given not in (evidence.LEMMA1, evidence.CHANGES)
        for study in evidence.results(given).studies
        if study.diversity_every
    }
    assert measured | {"beyond-changes"} == set(prediction.panels())
