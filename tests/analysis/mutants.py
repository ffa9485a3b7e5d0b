"""Planted faults: each names a place and what is wrong there, and `selftest` must find every one of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchscope.analysis.definitions import DEFINITIONS
from batchscope.records.row import Outcome

Fault = Callable[[Any], Any]


@dataclass(frozen=True)
class Mutant:
    """what: the fault in words. module, name: what is replaced, by `fault` of the original."""

    what: str
    module: str
    name: str
    fault: Fault

    def plant(self, monkeypatch: Any) -> None:
        """Put the fault in place; an item of DEFINITIONS is named "DEFINITIONS[...]"."""
        module = importlib.import_module(f"batchscope.{self.module}")
        if self.name.startswith("DEFINITIONS["):
            key = self.name[len("DEFINITIONS[") : -1]
            monkeypatch.setitem(DEFINITIONS, key, self.fault(DEFINITIONS[key]))
        elif "." in self.name:
            owner, attribute = self.name.split(".")
            cls = getattr(module, owner)
            monkeypatch.setattr(cls, attribute, self.fault(cls.__dict__[attribute]))
        else:
            monkeypatch.setattr(module, self.name, self.fault(getattr(module, self.name)))


def result(change: Callable[[Any], Any]) -> Fault:
    """A function whose result is changed."""
    return lambda original: lambda *arguments, **options: change(original(*arguments, **options))


def always(value: Any) -> Fault:
    """A function that returns the same whatever it is asked."""
    return lambda original: lambda *arguments, **options: value


def estimates(change: Callable[[Any], Any]) -> Fault:
    """A definition of the threshold whose estimates are changed."""
    return lambda definition: replace(
        definition, estimate=lambda sweep, number, request: change(definition.estimate(sweep, number, request))
    )


def other_number(number: float) -> Fault:
    """A definition that ignores the number it is given."""
    return lambda definition: replace(
        definition, estimate=lambda sweep, _, request: definition.estimate(sweep, number, request)
    )


def everything(estimate: Any) -> Any:
    return replace(estimate, interval=(0.0, np.inf))


def point(estimate: Any) -> Any:
    return replace(estimate, interval=(estimate.value, estimate.value))


def scaled(factor: float) -> Callable[[Any], Any]:
    """The value and its interval too large; the samples agree."""
    return lambda one: replace(
        one,
        value=one.value * factor,
        interval=tuple(end * factor for end in one.interval),
        samples=one.samples * factor,
    )


DEFINED = ("paper2018", "overhead_20", "b_crit", "within_epochs", "within_flops", "within_steps", "mean_diversity")

MUTANTS = (
    *(
        Mutant(f"{d}: interval [0, inf]", "analysis.thresholds", f"DEFINITIONS[{d}]", estimates(everything))
        for d in DEFINED
    ),
    *(
        Mutant(f"{d}: 40 % too large", "analysis.thresholds", f"DEFINITIONS[{d}]", estimates(scaled(1.4)))
        for d in DEFINED
    ),
    *(
        Mutant(f"{d}: interval without width", "analysis.thresholds", f"DEFINITIONS[{d}]", estimates(point))
        for d in DEFINED
        if d != "paper2018"  # whose values are batch sizes tested: they may agree
    ),
    Mutant("paper2018: tolerance ignored", "analysis.thresholds", "DEFINITIONS[paper2018]", other_number(0.2)),
    Mutant("overhead: share ignored", "analysis.thresholds", "DEFINITIONS[overhead_20]", other_number(0.2)),
    Mutant("within_epochs: limit ignored", "analysis.thresholds", "DEFINITIONS[within_epochs]", other_number(8.0)),
    Mutant("within_steps: limit ignored", "analysis.thresholds", "DEFINITIONS[within_steps]", other_number(900.0)),
    Mutant(
        "censored runs dropped",
        "analysis.sweeps",
        "runs_among",
        result(lambda rows: rows.pick(rows.column("outcome") != Outcome.CENSORED)),
    ),
    Mutant(
        "runs that diverged taken for arrived",
        "analysis.sweeps",
        "sweep_of",
        result(lambda sweep: replace(sweep, diverged=np.zeros_like(sweep.diverged))),
    ),
    Mutant(
        "cap removed: stopped runs arrive where they were stopped",
        "analysis.sweeps",
        "sweep_of",
        result(lambda sweep: replace(sweep, steps=np.where(sweep.reached, sweep.steps, sweep.steps_before))),
    ),
    Mutant(
        "checks ignored: a target met late in an epoch",
        "analysis.sweeps",
        "sweep_of",
        result(lambda sweep: replace(sweep, steps=sweep.steps * 1.3)),
    ),
    Mutant("verdict: always the first", "analysis.verdict", "probability_larger", always((0.999, 0.0))),
    Mutant("verdict: never decides", "analysis.verdict", "probability_larger", always((0.5, 0.0))),
    Mutant("verdict: the loser wins", "analysis.verdict", "probability_larger", result(lambda p: (1 - p[0], p[1]))),
    Mutant("verdict: ratio interval [0, inf]", "analysis.verdict", "ratio_interval", always((0.0, np.inf))),
    Mutant("verdict: steps and FLOPs mistaken", "analysis.verdict", "_at_budget", always("within_steps(1e9)")),
    Mutant("diversity: along whole runs, not at equal epochs", "analysis.verdict", "at_equal_epochs", lambda _: list),
    Mutant(
        "findings: all supported",
        "analysis.findings",
        "_worded",
        result(lambda finding: replace(finding, decision="supported")),
    ),
    Mutant(
        "findings: all undecided",
        "analysis.findings",
        "_worded",
        result(lambda finding: replace(finding, decision="undecided")),
    ),
    Mutant("F0: Holm's correction left out", "analysis.known_answers.planted_checks", "holm", lambda _: list),
    Mutant("F0: every shape slows down", "analysis.slow_down", "_p_value", always(0.0)),
    Mutant("F1: trend of the wrong sign", "analysis.trend", "_slopes", result(lambda slopes: -slopes)),
    Mutant("F1: interval [0, inf]", "analysis.trend", "quantile_interval", always((0.0, np.inf))),
    Mutant(
        "F2: ratios upside down",
        "analysis.same_batch",
        "_Table.compare",
        lambda original: lambda self, wider, deeper, level: original(self, deeper, wider, level),
    ),
    Mutant("F2: intervals twice too wide in logs", "analysis.same_batch", "quantile", result(lambda reach: 6 * reach)),
    Mutant("F2: intervals without width", "analysis.same_batch", "quantile", result(lambda reach: 0 * reach)),
    Mutant(
        "F2: no error of a batch size of its own",
        "analysis.known_answers.planted_checks",
        "own_variance",
        always((0.0, np.inf)),
    ),
    Mutant("F2: certain beyond doubt", "analysis.log_times", "SUREST", lambda _: 1.0),
    Mutant("figure 2(c): correlation of the wrong sign", "analysis.findings", "_correlation", result(lambda r: -r)),
    Mutant("cells: medians in other units", "analysis.cells", "_pass", result(lambda factor: 2 * factor)),
    Mutant("cells: no interval", "analysis.cells", "_scaled", result(lambda one: replace(one, low=None, high=None))),
    Mutant("gate: everything holds", "analysis.gate", "_holds", always(True)),
    Mutant("gate: nothing holds", "analysis.gate", "_holds", always(False)),
    Mutant("headline: says the opposite", "analysis.headline", "_leader", result(lambda lead: -lead)),
    Mutant(
        "tuning: the second best step size",
        "analysis.known_answers.selftest",
        "guard",
        result(lambda found: replace(found, cells=tuple(replace(c, step_size=2 * c.step_size) for c in found.cells))),
    ),
    Mutant(
        "measure: norms doubled",
        "gradients.report",
        "Report.sum_sq_norms",
        lambda original: property(lambda self: 2 * original.fget(self)),
    ),
    Mutant(
        "measure: the interval of everything",
        "gradients.report",
        "Report.interval",
        lambda original: property(lambda self: (1.0, np.inf)),
    ),
)
