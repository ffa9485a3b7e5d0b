"""Answers from the recipes beyond/...: small studies of what the paper leaves open, five seeds on the digits."""

from __future__ import annotations

from batchscope.analysis import batch_threshold
from batchscope.analysis.findings import findings
from batchscope.analysis.same_batch import EpochRatios
from batchscope.studies import Results
from reproduction import open_questions  # noqa: F401  the page lists these first
from reproduction.evidence import (
    FAILS,
    HOLDS,
    OF_DECISION,
    RULES,
    Answer,
    claim,
    results,
)

UNDER = "digits, 4000 weights, ReLU, plain SGD, standardised inputs, 96 %, step size tuned on epochs to the target"
WITHIN = "within_epochs(20)"


def _named(given: str, first: str) -> dict[str, Results]:
    """The studies of a directory by what their names have after `first`."""
    found = results(given)
    return {study.name.removeprefix(first): found.of(study.name) for study in found.studies}


def _ratios(rows: Results) -> tuple[EpochRatios, str]:
    """Epochs of the deeper over the wider, and the decision on finding 3."""
    one = next(finding for finding in findings(rows) if finding.name == "F2")
    assert isinstance(one.evidence, EpochRatios)
    return one.evidence, one.decision


@claim("6e", "(open) is a deep net slower at a large batch for the two-epoch rule alone?", RULES)
def _rules() -> Answer:
    parts, decisions = [], {}
    for name, rows in _named(RULES, "beyond-rule-").items():
        ratio, decisions[name] = _ratios(rows)
        ends = list(batch_threshold(rows, WITHIN).values())
        parts.append(
            f"{name.replace('-', ' ')}: epochs of the deeper over the wider {ratio.short}; within 20 epochs "
            f"{ends[0].text} {ends[0].interval_text} at L = 1, {ends[-1].text} {ends[-1].interval_text} at L = 10"
        )
    tuned = OF_DECISION[decisions["tuned"]]
    return Answer("; ".join(parts), {HOLDS: FAILS, FAILS: HOLDS}.get(tuned, tuned), f"{UNDER}, or by the rule")
