"""Runs as if their target had been easier: the first check that meets it, by hand."""

from __future__ import annotations

import pytest

from batchscope.analysis.findings import findings
from batchscope.records.row import Outcome
from reproduction import easier_target, evidence


@pytest.fixture(scope="module")
def rows():
    return [row for row in evidence.results(evidence.MNIST).rows if row.phase == "final" and row.depth == 10]


@pytest.mark.parametrize("level", [0.9, 0.93])
def test_a_run_stops_at_its_first_check_that_meets_the_level(rows, level):
    for row in rows:
        one = easier_target.stopped(row, level)
        met = [check.epoch for check in row.history if check.train_accuracy >= level]
        assert one.epochs_to_target == (met[0] if met else row.epochs_to_target)
        assert one.outcome == (Outcome.REACHED if met else row.outcome)
        assert (one.target_value, one.seed, one.step_size) == (level, row.seed, row.step_size)


def test_at_the_stated_target_nothing_changes(rows):
    for row in rows:
        one = easier_target.stopped(row, easier_target.STATED)
        assert (one.outcome, one.epochs_to_target, one.steps_to_target) == (
            row.outcome,
            row.epochs_to_target,
            row.steps_to_target,
        )


def test_an_easier_target_is_met_no_later():
    cells = [easier_target.at(level).deep[32] for level in easier_target.LEVELS]
    epochs = [evidence.typical(cell) for cell in cells]
    assert epochs == sorted(epochs)


def test_the_trend_over_all_shapes_is_that_of_runs_that_stopped_there():
    rows = [easier_target.stopped(row, 0.92) for row in evidence.results(evidence.MNIST).rows if row.phase == "final"]
    (finding,) = (one for one in findings(rows) if one.name == "F1")
    assert easier_target.at(0.92).depths == finding.evidence
    assert easier_target.at(easier_target.STATED).depths == evidence.found(evidence.MNIST)["F1"].evidence


def test_documents_say_at_which_targets_the_second_finding_holds():
    held = [
        f"{100 * level:.0f}" for level in easier_target.LEVELS if easier_target.at(level).depths.probability >= 0.95
    ]
    for name in ("README.md", "docs/wide_or_deep.md"):
        text = " ".join((evidence.RESULTS.parent / name).read_text(encoding="utf-8").split())
        assert f"{held[0]} to {held[-1]} %" in text
