"""Epochs of two shapes at the same batch size: the ratio with its interval, over all pairs of shapes of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from batchscope.analysis.formatting import bounds_text, number, plain, probability_text
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.log_times import AT, LESS, MORE, UNKNOWN, LogTimes, probability_above, quantile

Interval = tuple[float, float]


@dataclass(frozen=True)
class EpochRatio:
    """Epochs of the deeper shape over those of the wider at one batch size.

    ratio: NaN where it is only bounded; bound: "" or how `limit` bounds it, ">" (the deeper never arrived) or "<" (the
    wider never did); interval: `level`, 0 or inf where it is open. probability: that the wider needs fewer. censored:
    some runs of either never arrived. NaN everywhere where neither arrived.
    """

    wider: str
    deeper: str
    batch_size: float
    ratio: float
    bound: str
    limit: float
    interval: Interval
    probability: float
    censored: bool

    @property
    def best(self) -> float:
        """The ratio, or the bound that stands for it."""
        return self.limit if self.bound else self.ratio

    @property
    def text(self) -> str:
        """``10 [6.6, 15.2]``, ``> 12`` or "-" where neither arrived."""
        if self.bound:
            return f"{self.bound} {number(self.limit)}"
        return "-" if math.isnan(self.ratio) else f"{number(self.ratio)} {bounds_text(self.interval)}".strip()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**{name: plain(value) for name, value in vars(self).items()}, "text": self.text}


@dataclass(frozen=True)
class EpochRatios:
    """All pairs of shapes (wider, deeper) at all batch sizes at which both ran.

    pairs: every comparison, by pair and batch size. mean_ratio: geometric mean over those in which one arrived, a bound
    standing for the ratio it bounds; interval, probability (above 1): of that mean. num_faster of num_compared: the
    wider shape has fewer epochs; num_certain: of those with probability 0.95 or more; num_against: the deeper has, with
    that certainty. ends: the comparisons of the widest with the deepest. largest_common: the largest batch size at
    which both of them arrived, NaN if none.
    """

    pairs: tuple[EpochRatio, ...]
    mean_ratio: float
    interval: Interval
    probability: float
    num_faster: int
    num_certain: int
    num_against: int
    num_compared: int
    ends: tuple[EpochRatio, ...]
    largest_common: float
    level: float = LEVEL

    @property
    def share(self) -> float:
        """Of the comparisons, those in which the wider shape is the faster; NaN without any."""
        return self.num_faster / self.num_compared if self.num_compared else math.nan

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fields = {name: plain(value) for name, value in vars(self).items() if name not in ("pairs", "ends")}
        lists = {name: [one.as_dict() for one in getattr(self, name)] for name in ("pairs", "ends")}
        return {**fields, **lists, "share": plain(self.share), "sentence": self.sentence}

    @property
    def short(self) -> str:
        """``3.7 [3.33, 4.12] times, in 30 of 30``."""
        return f"{number(self.mean_ratio)} {bounds_text(self.interval)} times, {self.num_faster} of {self.num_compared}"

    @property
    def sentence(self) -> str:
        """The numbers in words."""
        if not self.num_compared:
            return "no two shapes have a batch size in common at which one of them arrived."
        mean = f"{number(self.mean_ratio)} {bounds_text(self.interval)}".strip()
        return (
            f"the wider shape needed fewer epochs in {self.num_faster} of {self.num_compared} comparisons at the same "
            f"batch size ({self.num_certain} of them certain, {self.num_against} certainly the other way); epochs of "
            f"the deeper over the wider, geometric mean {mean}, probability {probability_text(self.probability)} of "
            f"lying above 1 ({100 * self.level:.0f} %, censored likelihood; one that never arrives enters as a bound)."
        )

    def __str__(self) -> str:
        return self.sentence


def epoch_ratios(times: Mapping[str, LogTimes], certain: float, level: float = LEVEL) -> EpochRatios:
    """Compare all shapes, given from wide to deep, at their common batch sizes."""
    pairs = tuple(
        _ratio(wider, deeper, times[wider], times[deeper], float(batch_size), level)
        for wider, deeper in combinations(times, 2)
        for batch_size in np.intersect1d(times[wider].batch_sizes, times[deeper].batch_sizes)
    )
    compared = [one for one in pairs if not math.isnan(one.probability)]
    mean, error, freedom = _mean(times, compared)
    reach = quantile(level, freedom) * error if compared else math.nan
    labels = list(times)
    ends = tuple(one for one in pairs if len(labels) > 1 and (one.wider, one.deeper) == (labels[0], labels[-1]))
    return EpochRatios(
        pairs=pairs,
        mean_ratio=math.exp(mean),
        interval=(math.exp(mean - reach), math.exp(mean + reach)),
        probability=probability_above(mean, error, freedom) if compared else math.nan,
        num_faster=sum(one.best > 1 for one in compared),
        num_certain=sum(one.probability >= certain for one in compared),
        num_against=sum(one.probability <= 1 - certain for one in compared),
        num_compared=len(compared),
        ends=ends,
        largest_common=max((one.batch_size for one in ends if not math.isnan(one.ratio)), default=math.nan),
        level=level,
    )


def _ratio(wider: str, deeper: str, first: LogTimes, second: LogTimes, batch_size: float, level: float) -> EpochRatio:
    """Both at one batch size. A bound that already contradicts equality decides; another says nothing against it."""
    i, j = first.place(batch_size), second.place(batch_size)
    how = _known(first.known[i], second.known[j])
    difference = float(second.value[j] - first.value[i])
    error = math.sqrt(first.total[i] + second.total[j])
    freedom = min(first.freedom, second.freedom)
    reach = quantile(level, freedom) * error
    low, high = math.exp(difference - reach), math.exp(difference + reach)
    probability = probability_above(difference, error, freedom)
    if how == MORE:
        high, probability = math.inf, max(probability, 0.5)
    elif how == LESS:
        low, probability = 0.0, min(probability, 0.5)
    elif how == UNKNOWN:
        low = high = difference = probability = math.nan
    value = math.exp(difference)
    return EpochRatio(
        wider=wider,
        deeper=deeper,
        batch_size=batch_size,
        ratio=value if how == AT else math.nan,
        bound=how if how in (MORE, LESS) else "",
        limit=value if how in (MORE, LESS) else math.nan,
        interval=(low, high),
        probability=probability,
        censored=how != AT or bool(first.censored[i] or second.censored[j]),
    )


def _known(first: str, second: str) -> str:
    """How second / first is known from how each is."""
    if UNKNOWN in (first, second):
        return UNKNOWN
    upwards = {MORE: 1, AT: 0, LESS: -1}
    if first == second:
        return AT if first == AT else UNKNOWN
    return MORE if upwards[second] > upwards[first] else LESS


def _mean(times: Mapping[str, LogTimes], compared: list[EpochRatio]) -> tuple[float, float, float]:
    """(mean log ratio, its standard error, degrees of freedom): a contrast of the cells, each counted as it enters."""
    weights = {shape: np.zeros(len(one.batch_sizes)) for shape, one in times.items()}
    for pair in compared:
        for shape, sign in ((pair.deeper, 1), (pair.wider, -1)):
            weights[shape][times[shape].place(pair.batch_size)] += sign / len(compared)
    used = [(weights[shape], one) for shape, one in times.items() if weights[shape].any()]
    if not used:
        return math.nan, math.nan, 1.0
    mean = sum(float(np.nansum(w * one.value)) for w, one in used)
    variance = sum(float(np.nansum(w**2 * one.total)) for w, one in used)
    return mean, math.sqrt(variance), min(one.freedom for _, one in used)
