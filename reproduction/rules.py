"""Question 6a on whole panels: the same cells, step sizes by the two-epoch rule and tuned on epochs to the target."""

from __future__ import annotations

from batchscope.analysis import compare_protocols
from batchscope.analysis.tuning import ProtocolEffect
from batchscope.records import Outcome, Rows
from reproduction import small_studies  # noqa: F401  the page lists it first
from reproduction.evidence import (
    GRIDS,
    LINEAR,
    LINEAR_TUNED,
    TUNED_OF,
    Answer,
    claim,
    deeper_over_wider,
    found,
    is_run,
    opposite,
    results,
    times_as_many,
    together,
    verdict_of,
)

# Panel -> epochs within which the largest batch is asked for: those of Figure 2(b), and ours.
WITHIN = {LINEAR: "within_epochs(14)"}
USUAL = "within_epochs(20)"


@claim(
    "6a, rule, panels",
    "(open) is a deep net slower at a large batch for the two-epoch rule alone? Whole panels",
    LINEAR_TUNED,
)
def _panels() -> Answer:
    both = {given: tuned for given, tuned in TUNED_OF.items() if is_run(tuned)}
    verdicts = (verdict_of(found(tuned)["F2"]) for tuned in both.values())
    return Answer(
        "; ".join(_words(given, tuned) for given, tuned in both.items()),
        together(map(opposite, verdicts)),
        "ten depths, eight batch sizes, five seeds, plain SGD; by the rule, and tuned on epochs to the target",
    )


def _words(given: str, tuned: str) -> str:
    definition = WITHIN.get(given, USUAL)
    effects = list(effects_of(given, tuned, definition).values())
    limit = definition.partition("(")[2].rstrip(")")
    ends = " and ".join(
        f"{one.paper.text} {one.paper.interval_text} against {one.tuned.text} {one.tuned.interval_text} at L = {depth}"
        for depth, one in ((1, effects[0]), (10, effects[-1]))
    )
    by_rule, tuned_too = found(given)["F2"], found(tuned)["F2"]
    return (
        f"{GRIDS[given].data}: {deeper_over_wider(by_rule)} by the rule, {times_as_many(tuned_too)} tuned; "
        f"of {_count(given)} runs {_lost(given)} never arrive by the rule, {_lost(tuned)} tuned; largest batch within "
        f"{limit} epochs, by the rule against tuned, {ends}"
    )


def effects_of(given: str, tuned: str, definition: str) -> dict[str, ProtocolEffect]:
    """Shape, wide to deep -> what the rule did to its threshold."""
    return compare_protocols(results(given), results(tuned), definition)


def _finals(given: str) -> Rows:
    return Rows.of(results(given).rows).where(phase="final")


def _count(given: str) -> int:
    return len(_finals(given))


def _lost(given: str) -> int:
    return _count(given) - len(_finals(given).where(outcome=Outcome.REACHED))
