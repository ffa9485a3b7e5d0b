"""Answers from the recipes beyond/...: small studies of what the paper leaves open, five seeds on the digits."""

from __future__ import annotations

from collections.abc import Iterable

from batchscope.analysis import batch_threshold
from batchscope.analysis.cells import Cell, cells
from batchscope.analysis.findings import Finding, findings
from batchscope.studies import Results
from reproduction import held_out  # noqa: F401  the page lists these first
from reproduction.evidence import (
    CONSTANT_DEPTH,
    CONSTANT_WIDTH,
    RULES,
    TUNED,
    Answer,
    claim,
    deeper_over_wider,
    opposite,
    results,
    times_as_many,
    verdict_of,
    with_interval,
)

UNDER = f"digits, 4000 weights, ReLU, plain SGD, standardised inputs, 96 %, {TUNED}"
WITHIN = "within_epochs(20)"


def named(given: str, first: str) -> dict[str, Results]:
    """The studies of a directory by what their names have after `first`."""
    found = results(given)
    return {study.name.removeprefix(first): found.of(study.name) for study in found.studies}


def _epochs(of: Iterable[Cell]) -> str:
    """Epochs at every batch size, ascending."""
    return ", ".join(with_interval(cell) for cell in sorted(of, key=lambda cell: cell.batch_size))


def _slower(rows: Results) -> Finding:
    """Whether the deeper net needs more epochs at the same batch size."""
    return next(one for one in findings(rows) if one.name == "F2")


@claim("6a, rule", "(open) is a deep net slower at a large batch for the two-epoch rule alone?", RULES)
def _rules() -> Answer:
    parts, slower = [], {}
    for name, rows in named(RULES, "beyond-rule-").items():
        slower[name] = _slower(rows)
        ends = list(batch_threshold(rows, WITHIN).values())
        parts.append(
            f"{name.replace('-', ' ')}: {deeper_over_wider(slower[name])}; within 20 epochs "
            f"{ends[0].text} {ends[0].interval_text} at L = 1, {ends[-1].text} {ends[-1].interval_text} at L = 10"
        )
    verdict = opposite(verdict_of(slower["tuned"]))
    return Answer("; ".join(parts), verdict, f"{UNDER}, or by the rule")


@claim("6b, width", "(open) is it depth or width? Narrower layers at constant depth need more epochs", CONSTANT_DEPTH)
def _width_alone() -> Answer:
    return _alone(
        CONSTANT_DEPTH, "of the narrower over the wider", "four layers at every width; more weights where wider"
    )


@claim("6b, depth", "(open) deeper nets at constant width need more epochs", CONSTANT_WIDTH)
def _depth_alone() -> Answer:
    return _alone(CONSTANT_WIDTH, "of the deeper over the shallower", "layers of 20 units; more weights where deeper")


def _alone(given: str, ratio_of: str, under: str) -> Answer:
    rows = results(given)
    of: dict[str, list[Cell]] = {}
    for cell in cells(rows.rows):
        of.setdefault(f"{cell.depth} x {cell.width}", []).append(cell)
    slower = _slower(rows)
    shown = "; ".join(f"{name} {_epochs(line)}" for name, line in of.items())
    return Answer(
        f"epochs at B = 16, 64, 256, 1024: {shown}; epochs {ratio_of} {times_as_many(slower)}",
        verdict_of(slower),
        f"{UNDER.replace('4000 weights, ', '')}; {under}",
    )
