"""Tables and exports: numbers against hand counts, and files that read back."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import pytest

import batchscope as bs
from batchscope.analysis.digest import digest
from batchscope.analysis.fit.arrivals import typical_times
from batchscope.errors import InputError, StoreError
from batchscope.records.export import export
from batchscope.records.row import Outcome
from batchscope.records.rows import COLUMNS
from batchscope.running.trained import rows_of
from batchscope.studies import Results
from batchscope.studies.plan import cells, final_trial, tuning_trial
from batchscope.studies.trial import Cohort
from batchscope.training.settings import MemberResult

from .common import make_study
from .fake_trainer import Evaluation


def results_with(study, data, epochs, tuned=()):
    """Results of one cell: reported runs with these epochs (None = censored), and tuning runs at these indices."""
    cell = cells(study, data)[0]
    trials = [final_trial(study, cell, 0.08, number + 1) for number in range(len(epochs))]
    trials += [tuning_trial(study, cell, index) for index in tuned]
    rows = []
    for trial, value in zip(trials, [*epochs, *[None] * len(tuned)], strict=True):
        cohort = Cohort(study.name, (trial,))
        outcome = Outcome.CENSORED if value is None else Outcome.REACHED
        last = Evaluation(value or 31.0, int(value or 31) * 64, 0.5, math.nan, 0.25)
        steps = None if value is None else last.step
        result = MemberResult(cohort.members[0], outcome, value, steps, (last,))
        rows += rows_of(study, cohort, [result], 2.0, "cpu")
    return Results(tuple(sorted(rows, key=lambda row: row.trial_id)), (study,))


def test_a_summary_counts_and_averages_the_reported_runs(study, data):
    (cell,) = results_with(study, data, [3.0, 5.0, 10.0], tuned=range(-2, 4)).table()
    assert (cell.reached, cell.censored, cell.step_size) == (3, 0, 0.08)
    assert (cell.num_step_sizes, cell.at_grid_edge) == (6, False)
    known = typical_times([2, 4, 9], [3, 5, 10])  # met between two checks
    assert cell.epochs.value == pytest.approx(known.value[0])
    assert (cell.epochs.low, cell.epochs.high) == pytest.approx((known.low[0], known.high[0]))
    assert (cell.epochs.least, cell.epochs.most) == (3.0, 10.0)
    assert cell.steps.value == pytest.approx(64 * known.value[0])
    assert cell.heldout_accuracy == 0.25
    assert cell.seconds == 18.0


def test_run_and_report_summarise_with_one_function(study, data):
    results = results_with(study, data, [3.0, None, 4.0], tuned=range(4))
    assert tuple(results.table()) == digest(results.rows).table


def test_crashed_runs_say_nothing_about_epochs(study, data):
    results = results_with(study, data, [3.0, 5.0])
    lost = dataclasses.replace(results.rows[0], trial_id="0", outcome=Outcome.CRASHED, epochs_to_target=None)
    (cell,) = Results((lost, *results.rows), (study,)).table()
    assert cell.crashed == 1
    assert cell.epochs == results_with(study, data, [3.0, 5.0]).table()[0].epochs


def test_one_run_has_no_interval_and_no_runs_no_epochs(study, data):
    (cell,) = results_with(study, data, [3.0]).table()
    assert 2 < cell.epochs.value < 3
    assert cell.epochs.low is None
    (cell,) = results_with(study, data, [], tuned=range(4)).table()
    assert (cell.step_size, cell.epochs, cell.reached) == (None, None, 0)
    assert "not yet run" in str(results_with(study, data, [], tuned=range(4)).table())
    assert len(Results((), (study,)).table()) == 0


def test_the_printed_table_has_a_line_for_each_cell(tmp_path, study, fake):
    table = bs.run(study, tmp_path, executor="inline").table()
    lines = str(table).splitlines()
    assert lines[0].split()[:4] == ["shape", "batch", "size", "step"]
    assert sum(line.startswith("13-") for line in lines) == len(table) == 6
    assert json.loads(json.dumps(table.to_dicts()))[0]["shape"] == table[0].shape


def test_exports_agree_and_are_sorted_by_trial_id(tmp_path, study, fake):
    import pyarrow.parquet as pq

    results = bs.run(study, tmp_path / "out", executor="inline")
    for ending in ("csv", "json", "parquet"):
        assert export(results.rows, tmp_path / f"rows.{ending}") == len(results.rows)
    with open(tmp_path / "rows.csv", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = json.loads((tmp_path / "rows.json").read_text())
    from_parquet = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["trial_id"] for row in from_csv] == sorted(row.trial_id for row in results.rows)
    assert from_json == from_parquet
    assert list(from_json[0]) == list(from_csv[0]) == list(COLUMNS)
    for text, value in zip(from_csv, from_json, strict=True):
        assert text == {key: "" if item is None else str(item) for key, item in value.items()}
    diverged = [row for row in from_json if row["outcome"] == "diverged"]
    assert {row["train_loss"] for row in diverged} == {None}
    assert json.loads(diverged[0]["history"])["train_loss"][-1] is None


def test_an_export_that_cannot_be_written_leaves_nothing_behind(tmp_path, study, data):
    results = results_with(study, data, [3.0])
    with pytest.raises(InputError, match=r"expected a name ending in .csv, .json or .parquet"):
        export(results.rows, tmp_path / "rows.xlsx")
    no_folder = tmp_path / "file"
    no_folder.touch()
    with pytest.raises(StoreError, match="cannot be written"):
        export(results.rows, no_folder / "rows.csv")
    assert list(tmp_path.iterdir()) == [no_folder]


def test_the_results_of_a_study_not_there_are_refused(data):
    with pytest.raises(InputError, match="no study 'x' here"):
        Results((), (make_study(),)).of("x")
