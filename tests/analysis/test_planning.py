"""What a design can decide, against simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchscope.analysis import planning
from batchscope.errors import InputError

SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)


def simulated_errors(sizes: tuple[int, ...], num_seeds: int, studies: int) -> np.ndarray:
    """Errors of log B_crit by least squares on cell means whose noise is the one that planning assumes."""
    from scipy.optimize import curve_fit

    rng, b = np.random.default_rng(7), np.array(sizes, dtype=float)
    middle = math.sqrt(b[0] * b[-1])

    def curve(x: np.ndarray, log_s: float, log_b: float) -> np.ndarray:
        return log_s + np.log1p(np.exp(log_b) / x)

    spread = math.sqrt(planning.SEEDS_SPREAD**2 / num_seeds + planning.OWN_ERROR**2)
    truth = curve(b, 0.0, math.log(middle))
    fits = [
        curve_fit(curve, b, truth + spread * rng.standard_normal(len(b)), p0=(0, math.log(middle)))[0][1]
        for _ in range(studies)
    ]
    return np.array(fits) - math.log(middle)


@pytest.mark.parametrize(("sizes", "num_seeds"), [(SIZES, 5), (SIZES, 2), (SIZES[::2], 3)])
def test_the_predicted_width_is_that_of_simulated_studies(sizes, num_seeds):
    found = planning.design(sizes, num_seeds, 60_000, fastest_epochs=50.0, evaluations_per_epoch=100)
    errors = simulated_errors(sizes, num_seeds, 300)
    from scipy import special

    predicted = math.log(found.width) / float(special.stdtrit(len(sizes) - 2, 0.975))
    assert errors.std() == pytest.approx(predicted, rel=0.15)  # 4 standard errors of a deviation over 300 studies


def test_more_seeds_and_sizes_never_hurt_and_rare_checks_do():
    def power(sizes=SIZES, seeds=3, checks=4):
        return planning.design(sizes, seeds, 60_000, 2.0, checks).power

    assert power() < power(seeds=4) < power(seeds=8)
    assert power(SIZES[::2]) < power()
    assert power(checks=1) < power(checks=4)


def test_two_batch_sizes_decide_nothing():
    found = planning.design((32, 4096), 5, 60_000, 3.0)
    assert (found.width, found.power) == (math.inf, 0.0)


def test_impossible_designs_are_refused():
    for arguments in (((), 5, 100, 1.0), ((32,), 0, 100, 1.0), ((32,), 5, 100, 0.0), ((0, 32), 5, 100, 1.0)):
        with pytest.raises(InputError, match="expected positive numbers"):
            planning.design(*arguments)
