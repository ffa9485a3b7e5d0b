"""`design`: the shape and the batch size with the least time to target on P workers, or "undecided"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchscope.analysis.fit.critical_batch_fit import CriticalBatchFit
from batchscope.analysis.formatting import duration, fields_of, number
from batchscope.analysis.intervals import quantile_interval
from batchscope.analysis.verdict import EQUAL_PARAMETERS
from batchscope.errors import InputError
from batchscope.scaling.advice import Advice, Point
from batchscope.scaling.advising import advise
from batchscope.scaling.steps import StepsCurve
from batchscope.scaling.time_model import TimeModel

SHUFFLE = 71  # seed, unlike those of fits


@dataclass(frozen=True)
class Candidate:
    """One shape on the given workers. point: its best batch size and time. bounded: whether its B_crit is known.

    ratio: its time over the fastest shape's; ratio_interval: the same over resamples of both, NaN without any.
    """

    name: str
    point: Point
    bounded: bool
    ratio: float
    ratio_interval: tuple[float, float]

    @property
    def open(self) -> bool:
        """Whether it may be as fast as the fastest: the interval of the ratio reaches 1, or is unknown."""
        return not self.ratio_interval[0] > 1


@dataclass(frozen=True)
class Design:
    """The shapes in the order of their time to target on `workers` workers, the fastest first.

    left_out: shape -> why it was not judged. budget: of parameters, None where none was given.
    """

    workers: int
    candidates: tuple[Candidate, ...]
    left_out: dict[str, str]
    budget: int | None = None

    @property
    def best(self) -> Candidate:
        """The shape with the least estimated time; see `decided`."""
        return self.candidates[0]

    @property
    def rivals(self) -> tuple[Candidate, ...]:
        """The other shapes that may be as fast."""
        return tuple(candidate for candidate in self.candidates[1:] if candidate.open)

    @property
    def decided(self) -> bool:
        """Whether no other shape may be as fast."""
        return not self.rivals

    @property
    def sentence(self) -> str:
        """The choice in words, or "undecided" with what lies between."""
        return _sentence(self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN and infinities are None."""
        return {
            "workers": self.workers,
            "budget": self.budget,
            "decision": self.best.name if self.decided else "undecided",
            "candidates": [fields_of(candidate, open=candidate.open) for candidate in self.candidates],
            "left_out": self.left_out,
            "sentence": self.sentence,
        }

    def __str__(self) -> str:
        return self.sentence


def design(
    models: Mapping[str, TimeModel],
    fits: Mapping[str, CriticalBatchFit | StepsCurve],
    workers: int,
    budget: int | None = None,
    batch_size: float | None = None,
) -> Design:
    """Compare shapes on `workers` workers, each at its own best batch size, or all at `batch_size`.

    models, fits: by shape; fits with as many resamples, as `bs.fit(results)` makes them. budget: of parameters; shapes
    more than 5 % away from it are left out, with the reason, as are those without a curve.

    Raises InputError when no shape can be judged.
    """
    advices: dict[str, Advice] = {}
    left_out: dict[str, str] = {}
    for name, fit in fits.items():
        reason = _unusable(models.get(name), budget)
        try:
            if reason is None:
                advices[name] = advise(models[name], fit, workers=[workers], name=name, batch_size=batch_size)
                reason = (
                    "no batch size fits both the workers and the limits on it" if _timeless(advices[name]) else None
                )
        except InputError as error:
            reason = str(error)
        if reason is not None:
            advices.pop(name, None)
            left_out[name] = reason
    if not advices:
        raise InputError(
            f"no shape can be judged: {'; '.join(f'{k}: {v}' for k, v in left_out.items()) or 'none given'}"
        )
    return Design(workers, _ranked(advices), left_out, budget)


def _unusable(model: TimeModel | None, budget: int | None) -> str | None:
    if model is None:
        return "no time model"
    if budget is not None and abs(model.num_parameters / budget - 1) > EQUAL_PARAMETERS:
        return f"{model.num_parameters} parameters, not within {100 * EQUAL_PARAMETERS:g} % of the budget"
    return None


def _timeless(advice: Advice) -> bool:
    return math.isnan(advice.points[-1].seconds)


def _ranked(advices: Mapping[str, Advice]) -> tuple[Candidate, ...]:
    order = sorted(advices.values(), key=lambda advice: advice.points[-1].seconds)
    return tuple(_candidate(advice, order[0]) for advice in order)


def _candidate(advice: Advice, fastest: Advice) -> Candidate:
    point = advice.points[-1]
    ratio = point.seconds / fastest.points[-1].seconds
    return Candidate(advice.name, point, advice.curve.bounded, ratio, _ratio_interval(advice, fastest))


def _ratio_interval(advice: Advice, fastest: Advice) -> tuple[float, float]:
    """Of the ratio of times over resamples; those without a curve (hardly a run met the target) say nothing.

    Every shape has runs of its own, so what is unsure of one says nothing of another; but fits draw their resamples
    from the same generator. Those of the fastest are shuffled, or the two would be fast and slow together.
    """
    if len(advice.samples) != len(fastest.samples):
        return math.nan, math.nan
    if advice is fastest:
        return 1.0, 1.0
    drawn_apart = np.random.default_rng(SHUFFLE).permutation(fastest.samples[:, -1])
    return quantile_interval(advice.samples[:, -1] / drawn_apart, advice.level)


def _sentence(design: Design) -> str:
    best, count = design.best, f"{design.workers} worker{'s' if design.workers > 1 else ''}"
    point = best.point
    time = f"{duration(point.seconds)} {interval_text(point.interval)}".strip()
    choice = f"{best.name} at batch size {number(round(point.batch_size))}, {time} to target"
    extrapolated = " (extrapolated)" if point.extrapolated_workers or point.extrapolated_batch else ""
    if len(design.candidates) == 1:
        return f"With {count}: {choice}; no other shape to compare it with{extrapolated}."
    if design.decided:
        second = design.candidates[1]
        return f"With {count}: {choice}{extrapolated}; next {second.name}, {_ratio_text(second)} times as long."
    rivals = ", ".join(f"{rival.name} ({_ratio_text(rival)} times as long)" for rival in design.rivals)
    return f"With {count}: undecided between {choice}{extrapolated}, and {rivals}."


def interval_text(interval: tuple[float, float]) -> str:
    """``[2.1 s, 4 s]``; "" without an interval."""
    return "" if math.isnan(interval[0]) else f"[{duration(interval[0])}, {duration(interval[1])}]"


def _ratio_text(candidate: Candidate) -> str:
    low, high = candidate.ratio_interval
    return f"{candidate.ratio:.3g}" + ("" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]")
