"""`advise`: time to target and cost for every number of workers, from a time model and a curve of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from batchscope.analysis.fit.critical_batch_fit import CriticalBatchFit
from batchscope.analysis.formatting import number
from batchscope.analysis.intervals import quantile_interval
from batchscope.analysis.sweeps import Array
from batchscope.errors import InputError
from batchscope.scaling.advice import WORTH, Advice, Point, Saturation
from batchscope.scaling.domain import check_batch_size, check_positive
from batchscope.scaling.optimum import allowed, best_batch, seconds_to_target, whole_workers
from batchscope.scaling.steps import StepsCurve
from batchscope.scaling.time_model import TimeModel


def advise(
    model: TimeModel,
    fit: CriticalBatchFit | StepsCurve | None = None,
    *,
    s_min: float | None = None,
    b_crit: float | None = None,
    workers: Iterable[int] = range(1, 65),
    batch_size: float | None = None,
    price: float | None = None,
    deadline: float | None = None,
    worth: float = WORTH,
    name: str = "",
) -> Advice:
    """Time to target T(P) = min over B of S(B) T(B, P), and its cost, for every number of workers P.

    fit: of steps to target against batch size (`bs.fit`), whose interval is carried through; or s_min (steps) and
    b_crit (examples) as plain numbers, without an interval. batch_size: the same for every P instead of the best one,
    as in Chen et al. 2018, section 1. price: of one worker for an hour. deadline: seconds. worth: the least share of
    the time that a worker must save to count.

    Raises InputError for a fit without a curve (it says why), and for numbers that cannot be.

    >>> model = TimeModel(overhead=0.001, per_example=1e-4, num_parameters=10**6, bandwidth=1e9, latency=5e-5)
    >>> advice = advise(model, s_min=1000, b_crit=512, workers=range(1, 65))
    >>> print(advice.sentence)
    fastest with 39 workers at batch size 1586: 22 s to target, 3.02 times as fast as one (extrapolated). Beyond 10 \
workers, one more saves less than 3 %.
    >>> advice.points[8].workers, f"{advice.points[8].gain:.1%}"  # what worker 9 buys
    (9, '3.9%')
    """
    curve = _curve(fit, s_min, b_crit)
    check_wishes(batch_size, price, deadline, worth)
    asked = whole_workers(workers)
    everyone = np.arange(1, asked[-1] + 1)
    sizes = _sizes(model, curve, everyone, batch_size)
    seconds = seconds_to_target(model, curve, sizes, everyone)
    if np.isnan(seconds[0]).all():
        raise InputError(_impossible(model, curve, batch_size))
    points = _points(model, curve, everyone, sizes[0], seconds, price)
    return Advice(
        name=name,
        model=model,
        curve=curve,
        points=tuple(points[int(number) - 1] for number in asked),
        saturation=_saturation(seconds, worth, curve.level),
        fastest=points[int(np.nanargmin(seconds[0]))],
        reference=_first_known(seconds[0]) + 1,
        batch_size=batch_size,
        price=price,
        deadline=deadline,
        in_time=_first_within(points, deadline, surely=False),
        in_time_surely=_first_within(points, deadline, surely=True),
        notes=_notes(model, curve, [points[int(number) - 1] for number in asked]),
        level=curve.level,
        samples=seconds[1:],
    )


def advise_each(
    models: Mapping[str, TimeModel], fits: Mapping[str, CriticalBatchFit], **options: Any
) -> tuple[dict[str, Advice], dict[str, str]]:
    """(shape -> advice, shape -> why there is none), in the order of the fits. options: of `advise`."""
    advices: dict[str, Advice] = {}
    left_out: dict[str, str] = {}
    for shape, fitted in fits.items():
        try:
            if shape not in models:
                raise InputError("its steps were not timed")
            advices[shape] = advise(models[shape], fitted, name=shape, **options)
        except InputError as error:
            left_out[shape] = str(error)
    return advices, left_out


def _curve(fit: CriticalBatchFit | StepsCurve | None, s_min: float | None, b_crit: float | None) -> StepsCurve:
    if isinstance(fit, StepsCurve):
        return fit
    if fit is not None:
        return StepsCurve.of_fit(fit)
    if s_min is None or b_crit is None:
        raise InputError("no steps to target: give `fit` (of bs.fit), or both s_min (steps) and b_crit (examples)")
    return StepsCurve.of_numbers(s_min, b_crit)


def check_wishes(batch_size: float | None, price: float | None, deadline: float | None, worth: float) -> None:
    """Raise InputError for wishes of `advise` that nothing could meet, whatever the network."""
    if batch_size is not None:
        check_batch_size(batch_size)
    for name, value in (("price", price), ("deadline", deadline)):
        if value is not None:
            check_positive(name, value)
    if not 0 < worth < 1:
        raise InputError(f"worth = {worth!r}; expected a share of the time between 0 and 1, such as 0.03")


def _sizes(model: TimeModel, curve: StepsCurve, workers: Array, batch_size: float | None) -> Array:
    """[1 + R, k] batch sizes: the best, or the one asked for, NaN where it cannot be split over the workers."""
    if batch_size is None:
        return best_batch(model, curve, workers)
    low, high = allowed(model, curve, workers)
    fits = (low <= batch_size) & (batch_size <= high)
    return np.broadcast_to(np.where(fits, batch_size, np.nan), (len(curve.samples) + 1, len(workers)))


def _impossible(model: TimeModel, curve: StepsCurve, batch_size: float | None) -> str:
    size = "no batch size is" if batch_size is None else f"batch size {number(batch_size)} is not"
    limits = []
    if math.isfinite(model.max_local_batch):
        limits.append(f"a worker's memory takes {number(model.max_local_batch)} examples")
    if not curve.bounded:
        limits.append(f"the runs judge batch sizes from {number(curve.smallest)} to {number(curve.largest)} only")
    elif math.isfinite(curve.largest_possible):
        limits.append(f"the training set holds {number(curve.largest_possible)} examples")
    return f"{size} possible on any of these numbers of workers: {', and '.join(limits)}"


def _points(
    model: TimeModel, curve: StepsCurve, workers: Array, sizes: Array, seconds: Array, price: float | None
) -> list[Point]:
    """One point for every number of workers from 1 on."""
    reference = seconds[:, _first_known(seconds[0])][:, None]
    speedups = reference / seconds
    gains = _gains(seconds)[0]
    beyond, outside = model.is_extrapolated(workers), curve.is_extrapolated(sizes)
    return [
        Point(
            workers=int(workers[k]),
            batch_size=float(sizes[k]),
            seconds=float(seconds[0, k]),
            interval=quantile_interval(seconds[1:, k], curve.level),
            speedup=float(speedups[0, k]),
            speedup_interval=quantile_interval(speedups[1:, k], curve.level),
            gain=float(gains[k]),
            cost=math.nan if price is None else float(workers[k] * seconds[0, k] / 3600 * price),
            extrapolated_workers=bool(beyond[k]),
            extrapolated_batch=bool(outside[k]),
        )
        for k in range(len(workers))
    ]


def _first_known(seconds: Array) -> int:
    """Index of the fewest workers that can train at all: one, unless memory is too small for the batch asked for."""
    return int(np.flatnonzero(~np.isnan(seconds))[0])


def _gains(seconds: Array) -> Array:
    """[1 + R, k] the share of the time that worker P saves: 1 - T(at most P)/T(at most P - 1); NaN for the first."""
    least = np.fmin.accumulate(seconds, axis=1)
    gains = np.full_like(seconds, np.nan)
    gains[:, 1:] = 1 - least[:, 1:] / least[:, :-1]
    return gains


def _saturation(seconds: Array, worth: float, level: float) -> Saturation:
    """The last worker whose gain is worth it, for the estimate and over resamples."""
    with np.errstate(invalid="ignore"):
        paying = _gains(seconds) >= worth
    first = _first_known(seconds[0])
    numbers = np.arange(1, seconds.shape[1] + 1)
    last = np.where(paying, numbers, first + 1).max(axis=1).astype(float)
    interval = quantile_interval(np.where(np.isnan(seconds).all(axis=1), np.nan, last)[1:], level)
    return Saturation(int(last[0]), interval, worth, seconds.shape[1])


def _first_within(points: list[Point], deadline: float | None, surely: bool) -> Point | None:
    """The fewest workers whose time (surely: the upper end of its interval) is within the deadline."""
    if deadline is None:
        return None
    return next((p for p in points if (p.interval[1] if surely else p.seconds) <= deadline), None)


def _notes(model: TimeModel, curve: StepsCurve, points: list[Point]) -> tuple[str, ...]:
    """What must be said beside the numbers."""
    notes = []
    if curve.statement:
        notes.append(f"{curve.statement[0].upper()}{curve.statement[1:]}.")
    if any(point.extrapolated_workers for point in points):
        timed = (
            "one worker was timed" if model.measured_workers == 1 else f"{model.measured_workers} workers were timed"
        )
        first = next(point.workers for point in points if point.extrapolated_workers)
        notes.append(f"Extrapolated from {first} workers on: {timed}, and the model is trusted up to 4 times as many.")
    if any(point.extrapolated_batch for point in points):
        notes.append(
            f"* marks batch sizes outside those at which runs met the target ({number(curve.smallest)} to "
            f"{number(curve.largest)}): steps to target there follow the fitted curve and were not seen."
        )
    whole = _those(points, lambda point: point.batch_size == curve.largest_possible)
    if whole:
        notes.append(f"The batch for {whole} is the whole training set, {number(curve.largest_possible)} examples.")
    missing = _those(points, lambda point: math.isnan(point.seconds))
    if missing:
        notes.append(f"No time for {missing}: no batch size fits both them and the limits on it.")
    return tuple(notes)


def _those(points: list[Point], told: Callable[[Point], bool]) -> str:
    """``1 to 3 and 9 to 64 workers``: the points it is told of, neighbours as a range; "" for none."""
    groups = [[point.workers for point in group] for yes, group in groupby(points, told) if yes]
    listed = " and ".join(f"{one[0]}" if len(one) == 1 else f"{one[0]} to {one[-1]}" for one in groups)
    return f"{listed} worker{'s' if listed != '1' else ''}" if groups else ""
