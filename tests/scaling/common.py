"""A network's time model and curve for the tests of this room, with numbers that share no factor."""

from __future__ import annotations

import numpy as np

from batchscope.scaling import StepsCurve, TimeModel

MODEL = TimeModel(
    overhead=0.0031,
    per_example=1.7e-4,
    num_parameters=1_300_021,
    bandwidth=7.3e8,
    latency=4.1e-5,
)


def curve(s_min: float = 1009.0, b_crit: float = 383.0, sharpness: float = 1.0, resamples: int = 0) -> StepsCurve:
    """A curve with as many resamples, log-normal with 10 % on S_min and 20 % on E_min."""
    parameters = np.array([np.log(s_min), np.log(s_min * b_crit), np.log(sharpness)])
    noise = np.random.default_rng(5).standard_normal((resamples, 3)) * [0.1, 0.2, 0.0]
    return StepsCurve(parameters, parameters + noise, smallest=16.0, largest=4096.0)
