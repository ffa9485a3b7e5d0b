"""Whole panels by the two-epoch rule and with tuned step sizes: the same cells, and what the claim counts."""

from __future__ import annotations

import contextlib

import pytest

from batchscope.analysis import batch_threshold
from batchscope.records.packed import connected
from reproduction import evidence, rules


def ended(given: str) -> dict[str, int]:
    """Outcome -> reported runs, asked of the file."""
    path = evidence.RESULTS / evidence.RUNS[given] / "results-1of1.sqlite.gz"
    with contextlib.closing(connected(path)) as file:
        return dict(file.execute("SELECT outcome, count(*) FROM rows WHERE phase = 'final' GROUP BY outcome"))


@pytest.mark.parametrize(("given", "tuned"), evidence.TUNED_OF.items())
def test_both_are_the_same_study_but_for_the_rule(given, tuned):
    one, other = (evidence.results(name).study for name in (given, tuned))
    differ = {name for name in type(one).model_fields if getattr(one, name) != getattr(other, name)}
    assert differ <= {"name", "protocol", "race", "assumptions", "diversity_every"}
    assert (one.protocol, other.protocol, other.race) == ("paper2018", "tuned", True)


@pytest.mark.parametrize(("given", "tuned"), evidence.TUNED_OF.items())
def test_the_claim_counts_the_runs_that_never_arrive(given, tuned):
    lost = [sum(ended(name).values()) - ended(name)["reached"] for name in (given, tuned)]
    words = f"of 400 runs {lost[0]} never arrive by the rule, {lost[1]} tuned"
    assert words in rules._words(given, tuned)
    assert words in rules._panels().ours


@pytest.mark.parametrize(("given", "tuned"), evidence.TUNED_OF.items())
def test_the_claims_thresholds_are_those_of_each_study(given, tuned):
    definition = rules.WITHIN.get(given, rules.USUAL)
    effects = rules.effects_of(given, tuned, definition)
    alone = batch_threshold(evidence.results(tuned), definition)
    assert {shape: one.tuned.text for shape, one in effects.items()} == {shape: alone[shape].text for shape in effects}


def test_the_verdict_is_on_the_rule_alone(monkeypatch):
    class Found:
        def __init__(self, decision):
            self.decision, self.evidence = decision, evidence.found(evidence.LINEAR)["F2"].evidence

    decided = {"supported": evidence.FAILS, "contradicted": evidence.HOLDS, "undecided": "undecided"}
    for decision, verdict in decided.items():
        monkeypatch.setattr(rules, "found", lambda given, decision=decision: {"F2": Found(decision)})
        assert rules._panels().verdict == verdict
