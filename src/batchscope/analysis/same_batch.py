"""Epochs of two shapes at the same batch size: the ratio with its interval, over all pairs of shapes of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchscope.analysis.formatting import bounds_text, fields_of, number, probability_text
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.log_times import (
    AT,
    LESS,
    MORE,
    OWN_ASSUMED,
    SUREST,
    UNKNOWN,
    LogTimes,
    probability_above,
    quantile,
)
from batchscope.analysis.sweeps import Array, Booleans, Integers

Interval = tuple[float, float]
LEAST = 1.001 * (1 - SUREST)  # no probability is below it, but for rounding: from 501 comparisons on it must do
CODES = {AT: 0.0, MORE: 1.0, LESS: -1.0, UNKNOWN: math.nan}  # of how a number is known


@dataclass(frozen=True)
class EpochRatio:
    """Epochs of the deeper shape over those of the wider at one batch size.

    known: how the epochs of the wider and of the deeper are known (`LogTimes.known`): "=" numbers; ">" no run arrived;
    "<" all arrived by the first check; "" nothing finished. ratio: NaN where it is only bounded; bound: "" or how
    `limit` bounds it, ">" (the deeper never arrived, or the wider did by the first check) or "<" (the other way round);
    interval: `level`, 0 or inf where it is open. probability: that the wider needs fewer. censored: some runs of either
    never arrived. NaN everywhere where neither arrived, or both by the first check.
    """

    wider: str
    deeper: str
    batch_size: float
    known: tuple[str, str]
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
        """``10 [6.6, 15.2]``, ``> 12`` or "-" where nothing bounds it."""
        if self.bound:
            return f"{self.bound} {number(self.limit)}"
        return "-" if math.isnan(self.ratio) else f"{number(self.ratio)} {bounds_text(self.interval)}".strip()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, text=self.text)


@dataclass(frozen=True)
class EpochRatios:
    """All pairs of shapes (wider, deeper) at all batch sizes at which both ran.

    mean_ratio: geometric mean over the comparisons in which one arrived, a bound standing for the ratio it bounds, or
    for 1 where it does not exclude that (> 0.5 says nothing against the wider); interval, probability (above 1): of
    that mean. num_faster of num_compared: the wider shape has fewer epochs; num_certain: of those with probability 0.95
    or more; num_against: the deeper has, with that certainty. is_mixed: the mean does not stand for all comparisons:
    more than one in twenty goes certainly the other way, and one at least does also where it is one of so many
    (Bonferroni). ends: the comparisons of the widest with the deepest. largest_common: the largest batch size at which
    both of them arrived, NaN if none. own_is_seen: `LogTimes.own_is_seen`.
    """

    mean_ratio: float
    interval: Interval
    probability: float
    num_faster: int
    num_certain: int
    num_against: int
    num_compared: int
    is_mixed: bool
    ends: tuple[EpochRatio, ...]
    largest_common: float
    own_is_seen: bool = True
    level: float = LEVEL

    @property
    def share(self) -> float:
        """Of the comparisons, those in which the wider shape is the faster; NaN without any."""
        return self.num_faster / self.num_compared if self.num_compared else math.nan

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, share=self.share, sentence=self.sentence)

    @property
    def short(self) -> str:
        """``3.7 [3.33, 4.12] times, 30 of 30``; ``1.2 [1.1, 1.3] times, 7 of 9, mixed``."""
        ratio = f"{number(self.mean_ratio)} {bounds_text(self.interval)}"
        return f"{ratio} times, {self.num_faster} of {self.num_compared}{', mixed' if self.is_mixed else ''}"

    @property
    def sentence(self) -> str:
        """The numbers in words."""
        if not self.num_compared:
            return "no two shapes have a batch size in common at which their epochs can be compared."
        mean = f"{number(self.mean_ratio)} {bounds_text(self.interval)}".strip()
        return (
            f"the wider shape needed fewer epochs in {self.num_faster} of {self.num_compared} comparisons at the same "
            f"batch size ({self.num_certain} of them certain, {self.num_against} certainly the other way); epochs of "
            f"the deeper over the wider, geometric mean {mean}, probability {probability_text(self.probability)} of "
            f"lying above 1 ({100 * self.level:.0f} %, censored likelihood; one that never arrives, or by the first "
            f"check, enters as a bound{'' if self.own_is_seen else f'; with {OWN_ASSUMED}'})."
        )

    def __str__(self) -> str:
        return self.sentence


def epoch_ratios(times: Mapping[str, LogTimes], certain: float, level: float = LEVEL) -> EpochRatios:
    """Compare all shapes, given from wide to deep, at their common batch sizes."""
    labels, sizes = list(times), _batch_sizes(times)
    table = _Table.of(times, sizes)
    wider, deeper = np.triu_indices(len(labels), 1)
    found = table.compare(wider, deeper, level)
    ends = _ends(labels, sizes, table, level)
    compared = found.is_compared
    count = int(compared.sum())
    mean, error, freedom = table.mean(wider, deeper, found)
    reach = quantile(level, freedom) * error if count else math.nan
    return EpochRatios(
        mean_ratio=math.exp(mean),
        interval=(math.exp(mean - reach), math.exp(mean + reach)),
        probability=float(probability_above(mean, error, freedom)) if count else math.nan,
        num_faster=int((found.difference[compared] > 0).sum()),
        num_certain=int((found.probability[compared] >= certain).sum()),
        num_against=int((found.probability[compared] <= 1 - certain).sum()),
        num_compared=count,
        is_mixed=_is_mixed(found.probability[compared], mean, 1 - certain),
        ends=ends,
        largest_common=max((one.batch_size for one in ends if not math.isnan(one.ratio)), default=math.nan),
        own_is_seen=all(one.own_is_seen for one in times.values()),
        level=level,
    )


def _is_mixed(probability: Array, mean: float, chance: float) -> bool:
    """Whether some comparisons certainly go against the mean log ratio. probability: that the wider needs fewer."""
    agrees = probability if mean >= 0 else 1 - probability
    many = (agrees <= chance).sum() > chance * len(agrees)
    return bool(many and agrees.min() <= max(chance / len(agrees), LEAST))


def _batch_sizes(times: Mapping[str, LogTimes]) -> Array:
    return np.unique(np.concatenate([one.batch_sizes for one in times.values()])) if times else np.empty(0)


@dataclass(frozen=True)
class _Compared:
    """[P, M] of P pairs at M batch sizes: log ratio or the bound of it, how it is known (NaN: not at all; 1: more; -1:
    less; 0: a number), its ends in logs, and the probability that the wider needs fewer."""

    difference: Array
    known: Array
    low: Array
    high: Array
    probability: Array

    @property
    def is_compared(self) -> Booleans:
        """[P, M] where something is known."""
        return ~np.isnan(self.probability)

    @property
    def counted(self) -> Array:
        """[P, M] what enters a mean: a bound on the far side of equality speaks for neither and counts as equality."""
        says_nothing = self.known * self.difference < 0
        return np.where(says_nothing, 0.0, self.difference)


@dataclass(frozen=True)
class _Table:
    """k shapes at the M batch sizes of all.

    value, variance: [k, M] log times. known: [k, M] 0: a number; 1, -1: at least, at most that; NaN: nothing. ran:
    [k, M] 1 where some run did not arrive, NaN where there was none, else 0. freedom: [k].
    """

    value: Array
    variance: Array
    known: Array
    ran: Array
    freedom: Array

    @classmethod
    def of(cls, times: Mapping[str, LogTimes], sizes: Array) -> _Table:
        """Batch sizes at which a shape did not run are not known."""
        arrays = np.full((4, len(times), len(sizes)), np.nan)
        for row, one in enumerate(times.values()):
            places = np.searchsorted(sizes, one.batch_sizes)
            arrays[:, row, places] = one.value, one.total, [CODES[how] for how in one.known], one.censored
        freedom = np.array([one.freedom for one in times.values()])
        return cls(arrays[0], arrays[1], arrays[2], arrays[3], freedom)

    def compare(self, wider: Integers, deeper: Integers, level: float) -> _Compared:
        """Pairs of rows. A bound that contradicts equality decides; another says nothing."""
        difference = self.value[deeper] - self.value[wider]
        error = np.sqrt(self.variance[deeper] + self.variance[wider])
        freedom = np.minimum(self.freedom[deeper], self.freedom[wider])[:, None]
        known = np.sign(self.known[deeper] - self.known[wider])
        both = (self.known[deeper] == self.known[wider]) & (self.known[deeper] != 0)  # neither arrived, or both at once
        known = np.where(both, np.nan, known)
        difference = np.where(np.isnan(known), np.nan, difference)
        reach = quantile(level, freedom) * error
        sure = probability_above(difference, error, freedom)
        sure = np.where(known > 0, np.maximum(sure, 0.5), np.where(known < 0, np.minimum(sure, 0.5), sure))
        low = np.where(known < 0, -np.inf, difference - reach)
        high = np.where(known > 0, np.inf, difference + reach)
        return _Compared(difference, known, low, high, sure)

    def mean(self, wider: Integers, deeper: Integers, found: _Compared) -> tuple[float, float, float]:
        """(mean log ratio, its standard error, degrees of freedom): a contrast of cells, each counted as it enters."""
        compared = found.is_compared
        if not compared.any():
            return math.nan, math.nan, 1.0
        weights = np.zeros(self.value.shape)
        np.add.at(weights, deeper, compared / compared.sum())
        np.subtract.at(weights, wider, compared / compared.sum())
        used = (weights != 0).any(axis=1)
        variance = np.nansum(weights**2 * self.variance)
        return float(found.counted[compared].mean()), math.sqrt(variance), float(self.freedom[used].min())


def _ends(labels: Sequence[str], sizes: Array, table: _Table, level: float) -> tuple[EpochRatio, ...]:
    """The widest against the deepest, at every batch size at which both ran."""
    if len(labels) < 2:
        return ()
    first, last = np.array([0]), np.array([len(labels) - 1])
    found = table.compare(first, last, level)
    ran = ~np.isnan(table.ran[0] + table.ran[-1])
    return tuple(_ratio(labels[0], labels[-1], float(sizes[k]), found, table, k) for k in np.flatnonzero(ran).tolist())


def _ratio(wider: str, deeper: str, batch_size: float, found: _Compared, table: _Table, k: int) -> EpochRatio:
    known, value = found.known[0, k], math.exp(found.difference[0, k])
    bound = {1.0: MORE, -1.0: LESS}.get(float(known), "")
    return EpochRatio(
        wider=wider,
        deeper=deeper,
        batch_size=batch_size,
        known=(_how(table.known[0, k]), _how(table.known[-1, k])),
        ratio=math.nan if bound else value,
        bound=bound,
        limit=value if bound else math.nan,
        interval=(math.exp(found.low[0, k]), math.exp(found.high[0, k])),
        probability=float(found.probability[0, k]),
        censored=bool(table.ran[0, k] or table.ran[-1, k]),
    )


def _how(code: float) -> str:
    return next((how for how, one in CODES.items() if one == code), UNKNOWN)
