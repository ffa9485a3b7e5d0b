"""The batch size with the least time to target, for each number of workers: S(B) T(B, P) at its minimum.

For α = γ = 1, with A = a + T_sync(P), the time is

    S_min (1 + B_crit/B) (A + c B/P)  =  S_min A + E_min c/P + S_min (c/P) B + E_min A / B,

least at B = sqrt(B_crit A P / c), where it is (sqrt(S_min A) + sqrt(E_min c/P))². In general log S and log T are both
convex in log B (each is a log-sum-exp of functions that are log-convex in log B, raised to a power above 0), so their
sum has one minimum, found by bisection of its slope; limits on B only clip it.
"""

from __future__ import annotations

import numpy as np

from batchscope.analysis.sweeps import Array
from batchscope.errors import InputError
from batchscope.scaling.steps import StepsCurve, steps_at
from batchscope.scaling.time_model import TimeModel

MOST_WORKERS = 4096  # what a table of resamples fits in memory for
HALVINGS = 60  # of an interval of log B: down to rounding


def best_batch(model: TimeModel, curve: StepsCurve, workers: Array) -> Array:
    """[1 + R, k] the batch size with the least time to target on each number of workers [k], for each resample.

    At least one example per worker, at most `max_local_batch`, and within the curve's limits where it has any. NaN
    for a number of workers at which no batch size is left.
    """
    low, high = allowed(model, curve, workers)
    with np.errstate(invalid="ignore"):
        best = (_closed_form if is_closed(model, curve) else _bisect)(model, curve, workers, low, high)
        return np.where(low > high, np.nan, np.clip(best, low, high))


def seconds_to_target(model: TimeModel, curve: StepsCurve, batch_sizes: Array, workers: Array) -> Array:
    """[1 + R, k] S(B) T(B, P) for batch sizes [k] or [1 + R, k] on workers [k]."""
    sizes = np.broadcast_to(batch_sizes, (len(curve.samples) + 1, len(workers)))
    return np.asarray(steps_at(curve.all_parameters, sizes) * model.step(sizes, workers))


def allowed(model: TimeModel, curve: StepsCurve, workers: Array) -> tuple[Array, Array]:
    """([k], [k]) the smallest and the largest batch size that may be chosen on each number of workers."""
    smallest, largest = curve.limits()
    with np.errstate(over="ignore"):
        return np.maximum(workers, smallest), np.minimum(workers * model.max_local_batch, largest)


def is_closed(model: TimeModel, curve: StepsCurve) -> bool:
    """Whether the closed form holds: γ = α = 1."""
    return model.overlap == 1 and not curve.has_sharp_bend


def _closed_form(model: TimeModel, curve: StepsCurve, workers: Array, low: Array, high: Array) -> Array:
    b_crit = np.exp(curve.all_parameters[:, 1:2] - curve.all_parameters[:, 0:1])
    fixed = model.overhead + model.exchanging(workers)
    return np.asarray(np.sqrt(b_crit * fixed * workers / model.per_example))


def _bisect(model: TimeModel, curve: StepsCurve, workers: Array, low: Array, high: Array) -> Array:
    """Halve an interval of log B by the sign of d(log S + log T)/d log B."""
    left, right = (np.broadcast_to(end, (len(curve.samples) + 1, len(workers))) for end in _interval(curve, low, high))
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        falling = _slope(model, curve, np.exp(middle), workers) < 0
        left, right = np.where(falling, middle, left), np.where(falling, right, middle)
    return np.exp((left + right) / 2)


def _interval(curve: StepsCurve, low: Array, high: Array) -> tuple[Array, Array]:
    """Logs of batch sizes between which every minimum lies; without a limit on B, e^20 beyond the largest B_crit."""
    farthest = float(np.nanmax(curve.all_parameters[:, 1] - curve.all_parameters[:, 0])) + 20
    beginning = np.log(np.maximum(low, 1e-300))
    return beginning, np.maximum(
        np.where(np.isfinite(high), np.log(high), np.maximum(farthest, beginning + 40)), beginning
    )


def _slope(model: TimeModel, curve: StepsCurve, sizes: Array, workers: Array) -> Array:
    """d(log S + log T)/d log B: minus the share of S that falls with B, plus the share of T that grows with it."""
    log_s_min, log_e_min, log_alpha = (curve.all_parameters[:, k : k + 1] for k in range(3))
    falling = 1 / (1 + np.exp(np.clip(np.exp(log_alpha) * (np.log(sizes) - log_e_min + log_s_min), -700, 700)))
    computing, exchanging = model.computing(sizes / workers), model.exchanging(workers)
    with np.errstate(divide="ignore", over="ignore"):
        computing_share = 1 / (1 + (exchanging / computing) ** model.overlap)
    return np.asarray(computing_share * (model.per_example * sizes / workers) / computing - falling)


def whole_workers(workers: object) -> Array:
    """[k] ascending numbers of workers, each a whole number of at least 1 and at most MOST_WORKERS; InputError."""
    given = np.unique(np.asarray(list(workers) if isinstance(workers, range) else workers, dtype=float).ravel())
    if not len(given) or not np.all((given >= 1) & (given == np.floor(given)) & (given <= MOST_WORKERS)):
        raise InputError(f"workers {str(workers)[:80]}; expected whole numbers from 1 to {MOST_WORKERS}")
    return given
