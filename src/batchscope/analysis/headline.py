"""The one paragraph at the top of a report, the same on terminal, page and in JSON: epochs, slow-down, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchscope.analysis.formatting import batch_size, bounds_text, number, probability_text
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.log_times import AT, LESS, MORE
from batchscope.analysis.same_batch import EpochRatio, EpochRatios
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.verdict import UNDECIDED, Verdict
from batchscope.records.plain import AS_GIVEN

WIDE, DEEP = "wide", "deep"
VAGUE = 4  # ends of an interval further apart than this factor leave a batch size open (assumption)


@dataclass(frozen=True)
class Headline:
    """epochs: how many more the deep shape needs at the same batch size, at the smallest and the largest that both
    reach. slow_down: the threshold of both, with intervals and decision. advice: what to do. shapes: who is who."""

    shapes: str
    epochs: str
    slow_down: str
    advice: str

    @property
    def sentence(self) -> str:
        """All of it, as printed."""
        return " ".join(part for part in (self.epochs, self.slow_down, self.advice, self.shapes) if part)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"sentence": self.sentence, **vars(self)}

    def __str__(self) -> str:
        return self.sentence


def headline(sweeps: Mapping[str, Sweep], ratios: EpochRatios, verdict: Verdict) -> Headline:
    """Put a study into words. ratios, verdict: of the widest and the deepest shape."""
    if not sweeps:
        return Headline("", "No finished runs: nothing can be said yet.", "", "")
    if len(sweeps) < 2:
        return _alone(next(iter(sweeps.values())), verdict.first)
    shapes = list(sweeps.values())
    wide, deep = shapes[0], shapes[-1]
    return Headline(
        shapes=f"(wide: {wide.shape}, deep: {deep.shape}; {verdict.condition}; {wide.num_runs + deep.num_runs} runs.)",
        epochs=_epochs(wide, ratios),
        slow_down=_slow_down(ratios, verdict),
        advice=_advice(ratios, verdict, _alone_arrived(wide, deep)),
    )


def goal(sweep: Sweep) -> str:
    """``To 96 % training accuracy``, ``To a training loss of 1e-12``."""
    metric, _, value = sweep.target.rpartition(" ")
    if metric == AS_GIVEN:
        return "To the target"
    if metric.startswith("train accuracy"):
        running = " running over an epoch" if metric.endswith("running") else ""
        return f"To {number(100 * float(value))} % training accuracy{running}"
    losses = {"train loss": "a training loss of", "heldout loss": "a held-out loss of"}
    return f"To {losses.get(metric, metric)} {value}"


def _alone(sweep: Sweep, threshold: ThresholdEstimate) -> Headline:
    known = not math.isnan(threshold.ordering)
    what = f", {sweep.shape} has {_name(threshold)} {_valued(threshold)}" if known else f": {threshold.statement}"
    advice = _alone_advice(threshold) if known else ""
    return Headline("", f"{goal(sweep)}{what}.", "", f"{advice}A second shape would compare wide with deep.")


def _alone_advice(threshold: ThresholdEstimate) -> str:
    """What the batch can be raised to, and whether that is known well enough."""
    if threshold.biased:
        return f"This tells nothing of how large a batch it takes: {threshold.biased}. "
    if threshold.censored == "<":
        return "What to do: it slows down from the smallest batch tested on; smaller ones would tell where. "
    low, high = threshold.interval
    loose = " That is vague: one more batch size or seed narrows it." if high > VAGUE * low else ""
    return f"What to do: {_up_to(threshold).removeprefix('; ')}.{loose} "


def _epochs(sweep: Sweep, ratios: EpochRatios) -> str:
    """The first sentence."""
    known = [one for one in ratios.ends if not math.isnan(one.ratio)]
    never, early = _never(ratios.ends, sweep.max_epochs), _early(ratios.ends)
    lost = "; ".join(filter(None, (never, early)))
    if not known:
        return f"{goal(sweep)}, {lost or 'wide and deep have no finished runs at the same batch size'}."
    first, last = known[0], known[-1]
    words = f"{goal(sweep)}, {_claim(known, _where(never, early))} ({_factors(first, last)})"
    return f"{words}; {lost}." if lost else f"{words}."


def _where(never: str, early: str) -> str:
    """The batch sizes at which a ratio is known."""
    if early:
        return "at every batch size at which both arrive after the first check"
    return "at every batch size at which both arrive" if never else "at every batch size tested"


def _claim(known: Sequence[EpochRatio], everywhere: str) -> str:
    """Who needs how many times the other's epochs, and where that is certain."""
    slower = [one for one in known if one.probability >= CERTAIN]
    faster = [one for one in known if one.probability <= 1 - CERTAIN]
    if len(slower) == len(known):
        return f"deep needs {_range([one.ratio for one in known])} times wide's epochs {everywhere}"
    if len(faster) == len(known):
        return f"wide needs {_range([1 / one.ratio for one in known])} times deep's epochs {everywhere}"
    if not slower and not faster:
        return f"wide and deep are not told apart by their epochs {everywhere}"
    said = [
        f"{name} needs {_range(factors)} times the other's epochs at {_sizes(group)}"
        for group, name, factors in (
            (slower, DEEP, [one.ratio for one in slower]),
            (faster, WIDE, [1 / one.ratio for one in faster]),
        )
        if group
    ]
    rest = "" if len(slower) + len(faster) == len(known) else ", and the others are not told apart"
    return " and ".join(said) + rest


def _range(values: Sequence[float]) -> str:
    low, high = number(round(min(values), 1)), number(round(max(values), 1))
    return low if low == high else f"{low} to {high}"


def _sizes(group: Sequence[EpochRatio]) -> str:
    """``batch sizes 16, 64 and 256``."""
    texts = [number(one.batch_size) for one in group]
    if len(texts) == 1:
        return f"batch size {texts[0]}"
    listed = texts if len(texts) <= 4 else [*texts[:2], "...", texts[-1]]
    return f"batch sizes {', '.join(listed[:-1])} and {listed[-1]}"


def _factors(first: EpochRatio, last: EpochRatio) -> str:
    """``deep over wide, 16: 10.0x [6.6, 15.2]; 512: 15.0x [9.9, 22.8], some runs never arrived``."""
    texts = [
        f"{number(one.batch_size)}: {number(one.ratio)}x {bounds_text(one.interval)}"
        + (", some runs never arrived" if one.censored else "")
        for one in dict.fromkeys((first, last))
    ]
    return f"deep over wide at batch {'; '.join(texts)}"


def _never(ends: Sequence[EpochRatio], most: float) -> str:
    """Where one arrives and the other never does, or neither."""
    arrived = [tuple(how in (AT, LESS) for how in one.known) for one in ends]
    groups = {
        "deep never arrives": (True, False),
        "wide never arrives": (False, True),
        "neither arrives": (False, False),
    }
    lost = {what: [one for one, of in zip(ends, arrived, strict=True) if of == who] for what, who in groups.items()}
    said = _said(lost)
    stopped = any(MORE in one.known for group in lost.values() for one in group)  # else all of them diverged
    return f"{said} ({f'within {number(most)} epochs' if stopped else 'its runs diverged'})" if said else ""


def _early(ends: Sequence[EpochRatio]) -> str:
    """Where all runs of a shape meet the target by its first check, so that their epochs are not known."""
    return _said(
        {
            "wide arrives by the first check": [one for one in ends if one.known == (LESS, AT)],
            "deep arrives by the first check": [one for one in ends if one.known == (AT, LESS)],
            "both arrive by the first check": [one for one in ends if one.known == (LESS, LESS)],
        }
    )


def _said(groups: Mapping[str, Sequence[EpochRatio]]) -> str:
    return ", ".join(f"{what} at {_sizes(where)}" for what, where in groups.items() if where)


def _slow_down(ratios: EpochRatios, verdict: Verdict) -> str:
    """The second sentence: who slows down at the smaller batch. It never takes back the first."""
    first, second = verdict.first, verdict.second
    name = _name(first)
    numbers = f"{name} {_valued(first)} for wide, {_valued(second)} for deep"
    if not ratios.ends:
        return "Who slows down at the smaller batch cannot be said."
    if math.isnan(verdict.probability):
        reasons = [f"{one.shape}: {one.statement}" for one in (first, second) if one.statement]
        return f"Who slows down at the smaller batch cannot be said ({'; '.join(reasons) or 'no probability'})."
    sure = probability_text(max(verdict.probability, 1 - verdict.probability))
    if verdict.decision == UNDECIDED:
        what = {1: "deep also slows", -1: "wide also slows", 0: "deep slows"}[_leader(ratios)]
        if verdict.biased:
            return f"Whether {what} down at a smaller batch is open: {numbers}, but {verdict.biased}."
        likely = verdict.probability if _leader(ratios) >= 0 else 1 - verdict.probability
        return f"Whether {what} down at a smaller batch is open: {numbers}, probability {probability_text(likely)}."
    loser = DEEP if verdict.decision == verdict.first_name else WIDE
    lead = _leader(ratios)
    same = (lead == 1 and loser == DEEP) or (lead == -1 and loser == WIDE)
    if lead == 0 or same:
        also = "also " if same else ""
        return f"{loser.capitalize()} {also}slows down at the smaller batch: {numbers}, probability {sure}."
    slower = DEEP if lead == 1 else WIDE
    return (
        f"Counted from its own best, {slower} slows down only at the larger batch ({numbers}, probability {sure}): it "
        "is slow at small batches already."
    )


def _leader(ratios: EpochRatios) -> int:
    """1: wide has the fewer epochs wherever that is certain, -1: deep has, 0: neither, or both somewhere."""
    certain = {
        one.probability >= CERTAIN
        for one in ratios.ends
        if not 1 - CERTAIN < one.probability < CERTAIN and not math.isnan(one.probability)
    }
    return 0 if len(certain) != 1 else 1 if certain == {True} else -1


def _advice(ratios: EpochRatios, verdict: Verdict, alone: str) -> str:
    """The third sentence. alone: the shape that alone met the target, if one did."""
    lead = _leader(ratios)
    winner = {1: WIDE, -1: DEEP}.get(lead)
    if not ratios.ends:
        return "What to do: run both shapes at the same batch sizes."
    if alone and winner is None:
        return f"What to do: take the {alone} shape, which alone met the target; more seeds would make it sure."
    if not ratios.num_compared:
        return f"What to do: {_remedy(ratios.ends)}."
    if winner is None and not any(one.probability >= CERTAIN for one in ratios.ends):
        decided = verdict.decision
        if decided == UNDECIDED:
            return "What to do: either shape serves on this evidence; more seeds or batch sizes would tell."
        winner = WIDE if decided == verdict.first_name else DEEP
    elif winner is None:
        return "What to do: choose the shape for the batch size you will use."
    threshold = verdict.first if winner == WIDE else verdict.second
    return f"What to do: take the {winner} shape{_up_to(threshold)}."


def _remedy(ends: Sequence[EpochRatio]) -> str:
    """What would let two shapes be compared whose epochs cannot be."""
    if any(one.known == (LESS, LESS) for one in ends):
        return "check the target more often (`evaluations_per_epoch`), or set a harder one"
    if not any(MORE in one.known for one in ends):
        return "try smaller step sizes, for runs diverged"
    return "allow more epochs, or set an easier target"


def _alone_arrived(wide: Sweep, deep: Sweep) -> str:
    """The shape that met the target at some batch size while the other met it at none; "" if there is no such."""
    arrived = bool(wide.reached.any()), bool(deep.reached.any())
    return "" if arrived[0] == arrived[1] else WIDE if arrived[0] else DEEP


def _up_to(threshold: ThresholdEstimate) -> str:
    """How large a batch it takes, in the terms of the definition; what makes the answer too large was said before."""
    if threshold.biased:
        return f"; how large a batch it takes, this {_name(threshold)} does not tell"
    cost = "at most twice the fewest epochs" if threshold.definition == "b_crit" else f"little ({threshold.definition})"
    if threshold.censored == ">":
        return f"; its batch can be raised to {number(threshold.largest)}, the largest tested, at a cost of {cost}"
    if math.isnan(threshold.ordering) or threshold.censored == "<":
        return ""
    return f"; its batch can be raised to about {batch_size(threshold.value)} at a cost of {cost}"


def _name(threshold: ThresholdEstimate) -> str:
    return "B_crit" if threshold.definition == "b_crit" else f"B* ({threshold.definition})"


def _valued(threshold: ThresholdEstimate) -> str:
    return f"{threshold.text} {threshold.interval_text}".strip()
