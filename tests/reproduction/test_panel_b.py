"""Figure 3(b) under other assumptions: when its numbers, and when its direction, are said to come out."""

from __future__ import annotations

import dataclasses

import pytest

from batchscope.analysis.findings import CONTRADICTED, SUPPORTED, UNDECIDED
from reproduction import evidence, variants


@pytest.mark.parametrize(
    ("epochs", "decision", "verdict"),
    [
        ((2.5, 50), SUPPORTED, evidence.HOLDS),
        ((2.5, 90), SUPPORTED, evidence.IN_PART),
        ((11, 50), SUPPORTED, evidence.IN_PART),
        ((2.5, 50), UNDECIDED, "undecided"),
        ((11, 50), UNDECIDED, "undecided"),
        ((2.5, 50), CONTRADICTED, evidence.FAILS),
        ((11, 30), CONTRADICTED, evidence.FAILS),
    ],
)
def test_the_numbers_make_a_direction_that_holds_whole(monkeypatch, epochs, decision, verdict):
    ends = variants.ends_of(evidence.ADAM)
    monkeypatch.setattr(variants, "ends_of", lambda _: dataclasses.replace(ends, decision=decision))
    given = iter(epochs)
    monkeypatch.setattr(evidence, "typical", lambda _: next(given))
    answer = variants.of_panel_b(evidence.ADAM, "Adam")
    assert answer.verdict == verdict
    assert ("numbers do not come out" in answer.under) == (epochs != (2.5, 50))


def test_the_direction_is_that_of_the_widest_and_the_deepest_alone():
    assert variants.ends_of(evidence.ADAM).evidence.num_compared == len(variants.SIZES)
