"""B_S of initial nets: those of the committed runs, which began from the same weights."""

from __future__ import annotations

import json

import pytest

from reproduction import evidence


def test_the_nets_are_those_that_the_committed_runs_began_from():
    lines = json.loads((evidence.RESULTS / "initialisations.json").read_text())["lines"]
    glorot = [line for line in lines if line["initialisation"] == "glorot_uniform"]
    for study, given, rel in (("chen2018-figure2", evidence.LINEAR, 1e-9), ("chen2018-figure3b", evidence.MNIST, 1e-3)):
        rows = [row for row in evidence.results(given).rows if row.phase == "final" and row.batch_size == 32]
        for line in (line for line in glorot if line["study"] == study):
            begun = sorted((row.seed, row.history[0].batch_size_bound) for row in rows if row.depth == line["depth"])
            assert line["bounds"] == pytest.approx([bound for _, bound in begun], rel=rel)
    assert {line["depth"] for line in glorot} == {1, 2, 5, 10}
