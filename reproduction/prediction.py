"""Question 6d: does gradient diversity early in training, or along one small-batch run, foretell what a batch costs?

Over every committed study in which B_S was measured: its rank correlation with the largest batch that arrives within a
number of epochs, and the curve of epochs that the noise scale along one small-batch run predicts (McCandlish et al.
2018), beside the measured one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchscope.analysis import Sweep, batch_threshold, fit, sweeps_of
from batchscope.analysis.findings import diversities
from batchscope.analysis.formatting import bounds_text, number
from batchscope.analysis.log_times import log_times
from batchscope.theory.mccandlish2018 import examples_to_target
from reproduction import changes
from reproduction import rules as rules  # the page lists it first
from reproduction.evidence import (
    CHANGES,
    FAILS,
    HOLDS,
    IN_PART,
    LEMMA1,
    MNIST,
    RUNS,
    SGD_MNIST,
    Answer,
    claim,
    results,
)
from reproduction.open_questions import Pooled, bound_at, first_after_the_start, first_epoch, pooled

Array = NDArray[np.float64]
Sweeps = Mapping[str, Sweep]
RESAMPLES = 2000
# Data -> the largest batch that the targets and epochs of its studies suit.
LIMITS = {"synthetic": "within_epochs(14)", "mnist": "within_epochs(50)", "digits": "within_epochs(20)"}
ALONE = ("chen2018-figure2", "chen2018-figure2-mnist")  # of which the page says the start by itself


@functools.cache
def panels() -> dict[str, Sweeps]:
    """Study -> its shapes, of all in which B_S was measured; the changes to a deep net, a study each, as one.

    Those of Lemma 1 tune nothing and aim at no target.
    """
    found = {
        study.name: sweeps_of(results(given).of(study.name))
        for given in RUNS
        if given not in (LEMMA1, CHANGES)
        for study in results(given).studies
        if study.diversity_every
    }
    return found | {"beyond-changes": changes.sweeps()}


@functools.cache
def limit_of(study: str) -> str:
    """The definition of the largest batch for a study."""
    datasets = {one.name: one.dataset for given in RUNS for one in results(given).studies}
    return LIMITS[datasets.get(study, "digits")]


@functools.cache
def largest(study: str) -> dict[str, float]:
    """Shape -> the largest batch within a number of epochs; 0 or inf outside the sweep."""
    found = batch_threshold(panels()[study], limit_of(study))
    return {shape: estimate.ordering for shape, estimate in found.items()}


def at_start(sweeps: Sweeps) -> dict[str, float]:
    """Shape -> geometric mean B_S of its initial nets."""
    return {shape: bound_at(one, 0.0) for shape, one in sweeps.items()}


def small_batch(sweeps: Sweeps) -> dict[str, float]:
    """Shape -> geometric mean B_S at the first epoch measured after the start, of the runs at the smallest batch size
    that got there."""
    return {shape: bound_at(one, first_epoch({shape: one})) for shape, one in sweeps.items()}


def along(sweeps: Sweeps) -> dict[str, float]:
    """Shape -> B_S along training, at the batch sizes and epochs that all shapes share."""
    return {shape: estimate.value for shape, estimate in diversities(sweeps).items()}


def rank(of: Callable[[Sweeps], Mapping[str, float]], studies: Mapping[str, Sweeps]) -> Pooled:
    """The rank correlation of a number of every shape with its largest batch, within studies."""
    pairs = {}
    for study, sweeps in studies.items():
        numbers, sizes = of(sweeps), largest(study)
        known = [shape for shape in numbers if not math.isnan(numbers[shape] + sizes[shape])]
        if len(known) > 1:
            pairs[study] = np.array([numbers[one] for one in known]), np.array([sizes[one] for one in known])
    return pooled(pairs)


@claim("6d", "(open) does the gradient diversity of the first epochs tell the largest batch?", MNIST)
def _predictors() -> Answer:
    every, one_run = panels(), rank(small_batch, panels())
    start = {name: rank(at_start, {name: every[name]}) for name in ALONE}
    each = "; ".join(f"{name.removeprefix('chen2018-')} {one}" for name, one in start.items())
    mnist, shared = (rank(first_after_the_start, studies) for studies in ({MNIST_STUDY: every[MNIST_STUDY]}, every))
    return Answer(
        "rank correlation of B_S with the largest batch within a number of epochs. At the start: "
        f"{each}, all {len(every)} studies {rank(at_start, every)}. At the first measurement after it (5 epochs on "
        f"MNIST, 2 on the digits): along the smallest batch size, all studies {one_run}; at all batch sizes that "
        f"shapes share, MNIST {mnist}, all studies {shared}. Along training, at equal "
        f"epochs, all studies {rank(along, every)}",
        HOLDS if min(one.interval[0] for one in (one_run, mnist, shared)) > 0 else IN_PART,
        "14 epochs (synthetic), 50 (MNIST), 20 (digits); ranks within a study; in the first epochs along a small "
        "batch: at a large one two epochs are a few steps, and at the start ReLU nets have the opposite order",
    )


MNIST_STUDY = "chen2018-figure2-mnist"


@dataclass(frozen=True)
class Predicted:
    """One shape at one batch size. errors: log of the measured epochs over those predicted from the noise scale along
    the runs at a smaller batch size, and over those of that smaller batch size."""

    study: str
    shape: str
    batch_size: float
    by_noise: float
    by_nothing: float


def predicted(study: str, sweeps: Sweeps) -> Iterator[Predicted]:
    """Of every shape whose runs at some batch size were measured after the start, at every larger batch size."""
    for shape, times in log_times(sweeps).items():
        small = next((k for k in range(len(times.batch_sizes)) if noise_along(sweeps[shape], k) > 0), None)
        if small is None or not times.arrived[small]:
            continue
        at, noise = float(times.batch_sizes[small]), noise_along(sweeps[shape], small)
        for k in np.flatnonzero(times.arrived & (times.batch_sizes > at)).tolist():
            size = float(times.batch_sizes[k])
            factor = examples_to_target(size, 1.0, noise) / examples_to_target(at, 1.0, noise)
            measured = float(times.log_epochs[k] - times.log_epochs[small])
            yield Predicted(study, shape, size, measured - math.log(factor), measured)


def noise_along(sweep: Sweep, index: int) -> float:
    """B_simple = B_S - 1 along the runs at a batch size: median of their geometric means after the start; NaN if any
    of them was not measured there."""
    runs = sweep.cell == index
    if not sweep.measured.shape[1]:
        return math.nan
    after = np.where(sweep.measured_at[runs] > 0, np.log(np.maximum(sweep.measured[runs] - 1, 1e-3)), np.nan)
    if np.isnan(after).all(axis=1).any():
        return math.nan
    return float(np.exp(np.median(np.nanmean(after, axis=1))))


def typical_factor(found: list[Predicted], of: Callable[[Predicted], float]) -> tuple[float, tuple[float, float]]:
    """exp of the median absolute error, with its 95 % bootstrap interval over shapes."""
    groups: dict[tuple[str, str], list[float]] = {}
    for one in found:
        groups.setdefault((one.study, one.shape), []).append(abs(of(one)))
    errors, rng = [np.array(group) for group in groups.values()], np.random.default_rng(0)
    drawn = rng.integers(len(errors), size=(RESAMPLES, len(errors)))
    medians = [float(np.median(np.concatenate([errors[k] for k in row]))) for row in drawn]
    low, high = np.exp(np.quantile(medians, (0.025, 0.975)))
    return math.exp(float(np.median(np.concatenate(errors)))), (float(low), float(high))


@claim("6d, noise scale", "(open) does the noise scale along one small-batch run tell the critical batch?", MNIST)
def _noise_scale() -> Answer:
    mnist = panels()[MNIST_STUDY]
    fits, at_256 = fit(mnist), {shape: list(one.batch_sizes).index(256.0) for shape, one in mnist.items()}
    scales = np.array([noise_along(one, at_256[shape]) for shape, one in mnist.items()])
    critical = np.array([fits[shape].b_crit for shape in mnist])
    ranks = pooled({MNIST: (scales, critical)})
    low, middle, high = (number(float(np.quantile(scales / critical, q))) for q in (0, 0.5, 1))
    found = [one for study, sweeps in panels().items() for one in predicted(study, sweeps)]
    (noise, ends), (nothing, other) = (
        typical_factor(found, of) for of in (lambda one: one.by_noise, lambda one: one.by_nothing)
    )
    return Answer(
        f"MNIST: B_S - 1 along runs at B = 256 over the fitted B_crit: median {middle}, {low} to {high} over ten "
        f"shapes; rank correlation {ranks}. The curve of epochs from the smallest batch that was measured, all "
        f"studies, {len(found)} (shape, B): off by a factor of {number(noise)} {bounds_text(ends)} (median; with "
        f"no cost of the batch at all: {number(nothing)} {bounds_text(other)})",
        HOLDS if ranks.interval[0] > 0 else IN_PART if noise < other[0] else FAILS,
        f"{SGD_MNIST}; digits: step size tuned",
    )
