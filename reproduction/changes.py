"""Question 6e: which change to a deep net buys the most batch at equal parameters? Ten layers of 17 units, digits."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from batchscope.analysis import Sweep, Verdict, compare, sweeps_of
from batchscope.analysis.formatting import probability_text
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.log_times import log_times
from batchscope.analysis.same_batch import EpochRatios, epoch_ratios
from reproduction.evidence import CHANGES, HOLDS, IN_PART, Answer, claim
from reproduction.small_studies import UNDER, named

PLAIN = "deep"
WITHIN = "within_epochs(40)"  # which the plain net makes at some of the batch sizes
WORDS = {
    "shallow": "one layer of 54",
    "deep-skip": "skip connections",
    "deep-layer-norm": "LayerNorm",
    "deep-he": "He weights",
    "deep-fan-in": "fan-in weights",
    "deep-wide-first": "first layer 2K",
    "deep-wide-middle": "middle layer 4K",
}


@dataclass(frozen=True)
class Bought:
    """What a change buys against the plain deep net.

    critical, within: its threshold over that of the plain net, by B_crit and within a number of epochs. epochs: those
    of the plain net over its own at the same batch size.
    """

    name: str
    critical: Verdict
    within: Verdict
    epochs: EpochRatios

    @property
    def words(self) -> tuple[str, ...]:
        """The change, the three ratios with their intervals, each with the probability that it is above 1."""
        verdicts = [
            text for one in (self.critical, self.within) for text in (_ratio(one), probability_text(one.probability))
        ]
        times = self.epochs.short.partition(" times")[0]
        return (WORDS[self.name], times, probability_text(self.epochs.probability), *verdicts)


def _ratio(one: Verdict) -> str:
    return one.ratio_text or f"{one.first.text} against {one.second.text}"


@functools.cache
def sweeps() -> Mapping[str, Sweep]:
    """Name of the change ("deep" for none) -> its runs, under that name."""
    return {
        name: replace(one, shape=name)
        for name, rows in named(CHANGES, "beyond-").items()
        for one in sweeps_of(rows).values()
    }


@functools.cache
def bought() -> tuple[Bought, ...]:
    """Every change, the one that saves the most epochs first."""
    of, times = sweeps(), log_times(sweeps())
    found = [
        Bought(
            name,
            compare(of, name, PLAIN, "b_crit"),
            compare(of, name, PLAIN, WITHIN),
            epoch_ratios({name: times[name], PLAIN: times[PLAIN]}, CERTAIN),
        )
        for name in of
        if name != PLAIN
    ]
    return tuple(sorted(found, key=lambda one: -one.epochs.mean_ratio))


@claim("6e", "(open: O2) does one change to a deep net buy batch, at equal parameters, and which buys most?", CHANGES)
def _changes() -> Answer:
    lines = [
        f"{what}: {times} (P {sure}), {critical} (P {sure_critical}), {within} (P {sure_within})"
        for what, times, sure, critical, sure_critical, within, sure_within in (one.words for one in bought())
    ]
    kept = [one for one in bought() if one.name != "shallow"]  # which is no change to a deep net but another net
    best, needed = kept[0], 1 - (1 - CERTAIN) / len(kept)
    sure = min(best.epochs.probability, best.within.probability)
    return Answer(
        "epochs of the plain net over the changed one's at the same batch size, then B_crit and the largest batch "
        f"within 40 epochs of the changed net over the plain one's: {'; '.join(lines)}. Most: {WORDS[best.name]}",
        HOLDS if sure >= needed else IN_PART if sure >= CERTAIN else "undecided",
        f"{UNDER}; ten layers of 17 units and one change each; P {needed:.3f} is what one of {len(kept)} comparisons "
        "needs to be certain",
    )
