"""What the design of a study can decide, before anything is trained: the width of B_crit's interval, and the power.

For one shape, the mean of log T over the r seeds of batch size B has the variance

    v(B) = (σ² + δ(B)²/12) / r + τ²,

σ the spread over seeds, τ the error of a batch size of its own (a step size off the best), δ(B) one check of the
target relative to the time to it, whose place within the check is uniform. With log T = log S_min + log(1 + B_crit/B),
the delta method gives the standard error of log B_crit by weighted least squares, and Student's t over (sizes - 2)
degrees of freedom the interval. Assumptions, ours: σ = 20 %, τ = 10 %, and a B_crit in the middle of the sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from batchscope.analysis.intervals import CERTAIN
from batchscope.errors import InputError

SEEDS_SPREAD, OWN_ERROR = 0.20, 0.10
LARGEST_CHECK = 0.2  # of the fastest time to the target: what a check may be where a slow-down of 20 % is looked for


@dataclass(frozen=True)
class StudyDesign:
    """What a study can decide on two shapes that differ twofold.

    width: B_crit's 95 % interval is about [B_crit/width, B_crit*width]; inf with fewer than three batch sizes.
    power: the probability that shapes whose B_crit differ by the factor 2 are decided rightly.
    """

    batch_sizes: tuple[int, ...]
    num_seeds: int
    b_crit: float
    width: float
    power: float


def design(
    batch_sizes: Sequence[int],
    num_seeds: int,
    num_examples: int,
    fastest_epochs: float,
    evaluations_per_epoch: int = 1,
    b_crit: float | None = None,
) -> StudyDesign:
    """The width and the power of a study.

    batch_sizes: those of the study (examples). num_seeds: reported runs of each. num_examples: of the training set.
    fastest_epochs: passes over the data to the target at the smallest batch size. b_crit: the critical batch size
    assumed (examples); by default the geometric middle of the sizes. Raises InputError for impossible numbers.
    """
    sizes = np.array(sorted(set(batch_sizes)), dtype=float)
    if len(sizes) == 0 or sizes[0] < 1 or num_seeds < 1 or num_examples < 1 or not fastest_epochs > 0:
        raise InputError(
            f"batch sizes {list(batch_sizes)}, {num_seeds} seeds, {num_examples} examples, {fastest_epochs} epochs; "
            "expected positive numbers and at least one batch size"
        )
    middle = float(math.sqrt(sizes[0] * sizes[-1])) if b_crit is None else b_crit
    error = _log_error(sizes, num_seeds, num_examples, fastest_epochs, evaluations_per_epoch, middle)
    degrees = len(sizes) - 2
    plain = tuple(int(size) for size in sizes)
    if degrees < 1 or not math.isfinite(error):
        return StudyDesign(plain, num_seeds, middle, math.inf, 0.0)
    width = math.exp(float(special.stdtrit(degrees, 0.975)) * error)
    threshold = float(special.stdtrit(2 * degrees, CERTAIN)) * math.sqrt(2) * error
    power = float(special.ndtr((math.log(2) - threshold) / (math.sqrt(2) * error)))
    return StudyDesign(plain, num_seeds, middle, width, power)


def checks_needed(fastest_epochs: float, largest_check: float = LARGEST_CHECK) -> int:
    """Checks of the target an epoch with which one check is at most that share of the fastest time to it.

    >>> checks_needed(1.5), checks_needed(10)
    (4, 1)
    """
    return max(1, math.ceil(1 / (largest_check * fastest_epochs) - 1e-9))


def _log_error(
    sizes: NDArray[np.float64],
    num_seeds: int,
    num_examples: int,
    fastest_epochs: float,
    evaluations_per_epoch: int,
    b_crit: float,
) -> float:
    """Standard error of log B_crit, by the delta method."""
    epochs = fastest_epochs * (sizes + b_crit) / (sizes[0] + b_crit)  # examples = E_min (1 + B/B_crit)
    checks = np.minimum(evaluations_per_epoch, np.ceil(num_examples / sizes))
    variance = (SEEDS_SPREAD**2 + (1 / checks / epochs) ** 2 / 12) / num_seeds + OWN_ERROR**2
    slopes = np.stack([np.ones_like(sizes), b_crit / (sizes + b_crit)])  # d log T / d (log S_min, log B_crit)
    information = (slopes / variance) @ slopes.T
    if np.linalg.matrix_rank(information) < 2:
        return math.inf
    return float(math.sqrt(np.linalg.inv(information)[1, 1]))
