"""`--require "b_threshold(wide) >= 1024"`: a condition on results, parsed by a small grammar and decided, never run.

requirement := comparison ("and" comparison)*
comparison  := quantity (">=" | ">" | "<=" | "<") number
quantity    := name "(" [argument ("," argument)*] ")" [".low" | ".high"]
argument    := a shape ("wide", "deep" or a label, quoted or not), then a definition of the threshold
name        := "b_threshold" (shape[, definition])     the threshold; .low and .high: the ends of its interval
             | "b_crit" (shape)                        the same as b_threshold(shape, b_crit)
             | "probability" (shape, shape[, definition])   that the first takes the larger batch
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchscope.analysis.definitions import parse_definition
from batchscope.analysis.formatting import probability_text
from batchscope.analysis.sweeps import Results, Sweep, sweeps_of
from batchscope.analysis.thresholds import batch_threshold
from batchscope.analysis.verdict import compare
from batchscope.errors import InputError, choose

NUM_ARGUMENTS = {"b_threshold": (1, 2), "b_crit": (1, 1), "probability": (2, 3)}
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_ARGUMENT = r"""(?:"[^"]*"|'[^']*'|(?:[^(),"']|\([^()]*\))*)"""
_COMPARISON = re.compile(
    rf"\s*(?P<name>[a-z_]+)\s*\((?P<arguments>{_ARGUMENT}(?:,{_ARGUMENT})*)\)\s*(?:\.(?P<end>[a-z]+))?"
    r"\s*(?P<operator>>=|<=|>|<)\s*(?P<number>[0-9.eE+-]+)\s*"
)
EXAMPLE = 'expected something like "b_threshold(wide) >= 1024 and probability(wide, deep) > 0.95"'


@dataclass(frozen=True)
class Comparison:
    """``name(arguments).end operator number``; end is "", "low" or "high"."""

    name: str
    arguments: tuple[str, ...]
    end: str
    operator: str
    number: float

    def __str__(self) -> str:
        end = f".{self.end}" if self.end else ""
        return f"{self.name}({', '.join(self.arguments)}){end} {self.operator} {self.number:g}"


@dataclass(frozen=True)
class GateResult:
    """passed: every comparison holds. detail: each comparison with what was found; one that cannot be decided fails."""

    passed: bool
    detail: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": self.passed, "detail": list(self.detail)}


def parse(requirement: str) -> tuple[Comparison, ...]:
    """The comparisons of a requirement. Raises InputError that quotes the part that cannot be read.

    >>> [str(comparison) for comparison in parse("b_threshold(wide) >= 1024 and probability(wide, deep) > 0.9")]
    ['b_threshold(wide) >= 1024', 'probability(wide, deep) > 0.9']
    """
    comparisons, position = [], 0
    while True:
        match = _COMPARISON.match(requirement, position)
        if match is None:
            raise InputError(f"requirement {requirement!r}: cannot read {requirement[position:].strip()!r}; {EXAMPLE}")
        comparisons.append(_comparison(requirement, match))
        if match.end() == len(requirement):
            return tuple(comparisons)
        word = re.compile(r"and\b").match(requirement, match.end())
        if word is None:
            rest = requirement[match.end() :].strip()
            raise InputError(f"requirement {requirement!r}: cannot read {rest!r} after the comparison; {EXAMPLE}")
        position = word.end()


def _comparison(requirement: str, match: re.Match[str]) -> Comparison:
    """Check names, the number of arguments, and the number compared with."""
    name = choose("quantity", match["name"], NUM_ARGUMENTS)
    arguments = tuple(part.strip().strip("\"'") for part in re.findall(rf"({_ARGUMENT})(?:,|$)", match["arguments"]))
    arguments = tuple(part for part in arguments if part)
    fewest, most = NUM_ARGUMENTS[name]
    if not fewest <= len(arguments) <= most:
        raise InputError(f"{name} with {len(arguments)} arguments in {requirement!r}; expected {fewest} to {most}")
    end = match["end"] or ""
    if end and (end not in ("low", "high") or name == "probability"):
        raise InputError(f"'.{end}' after {name} in {requirement!r}; expected '.low' or '.high' of a threshold")
    if len(arguments) > fewest:
        parse_definition(arguments[-1])
    try:
        number = float(match["number"])
    except ValueError:
        raise InputError(f"{match['number']!r} in {requirement!r}; expected a number") from None
    return Comparison(name, arguments, end, match["operator"], number)


def require(results: Results, requirement: str) -> GateResult:
    """Decide a requirement on the results of a study. A censored threshold ("> 4096") compares as lying beyond it."""
    sweeps = sweeps_of(results)
    decided = [_decide(sweeps, comparison) for comparison in parse(requirement)]
    return GateResult(all(passed for passed, _ in decided), tuple(text for _, text in decided))


def _decide(sweeps: dict[str, Sweep], comparison: Comparison) -> tuple[bool, str]:
    """Whether one comparison holds, and what it found in words."""
    if not sweeps:
        return False, f"{comparison}: cannot be decided, no finished runs"
    bounds, found = _found(sweeps, comparison)
    holds = _holds(bounds, comparison)
    words = "cannot be decided" if holds is None else "holds" if holds else "does not hold"
    return bool(holds), f"{comparison}: {words}; found {found}"


def _found(sweeps: dict[str, Sweep], comparison: Comparison) -> tuple[tuple[float, float], str]:
    """The least and the greatest the quantity can be (equal when it is a number, NaN when unknown), and in words."""
    if comparison.name == "probability":
        verdict = compare(sweeps, *comparison.arguments)
        known = "no probability" if math.isnan(verdict.probability) else probability_text(verdict.probability, digits=3)
        words = f"{known} ({verdict.first.definition}, n = {verdict.n})"
        return (verdict.probability, verdict.probability), words
    shape, *rest = comparison.arguments
    definition = "b_crit" if comparison.name == "b_crit" else rest[0] if rest else "paper2018"
    threshold = batch_threshold(sweeps, definition, shape)
    ends = {"": threshold.ordering, "low": threshold.interval[0], "high": threshold.interval[1]}
    value = ends[comparison.end]
    if value == math.inf:
        return (threshold.largest, math.inf), str(threshold)
    return ((0.0, threshold.smallest) if value == 0 else (value, value)), str(threshold)


def _holds(bounds: tuple[float, float], comparison: Comparison) -> bool | None:
    """Whether the comparison holds for all of the (open) range; None when that depends, or nothing is known."""
    low, high = bounds
    if math.isnan(low):
        return None
    if low == high:
        return OPERATORS[comparison.operator](low, comparison.number)
    above, below = low >= comparison.number, high <= comparison.number
    if not (above or below):
        return None
    return above if comparison.operator in (">=", ">") else below
