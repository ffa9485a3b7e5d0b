"""Exports of other tools, written here as those tools write them, and what becomes of them."""

import csv
import json
import sqlite3
from pathlib import Path

import pytest

import batchscope as bs
from batchscope.errors import InputError
from batchscope.records.foreign import imported, save
from batchscope.records.foreign.column_map import parse_map
from batchscope.records.foreign.reaching import Goal, reaching


def write(path, head, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    return path


def rows_of(lines, path):
    assert save(lines, path) == len(lines)
    return list(bs.runs(path))


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_the_first_measurement_that_meets_a_goal(sign):
    goal = Goal.parse(f" val/error {sign} 0.5 ")
    assert (goal.metric, goal.value) == ("val/error", 0.5)
    better = 0.4 if "<" in sign else 0.6
    worse = 1.0 - better
    nan = float("nan")
    told = reaching(goal, [0, 10, 20, 30, 40], [worse, worse, nan, better, worse])
    assert told == {"steps": 30, "steps_before": 10, "reached": True}
    assert reaching(goal, [0, 10], [worse, worse]) == {"steps": 10, "reached": False}
    assert reaching(goal, [0, 10], [worse, 0.5])["reached"] == ("=" in sign)
    with pytest.raises(InputError, match="expected a metric, a sign and a number"):
        Goal.parse("accuracy above 3")


def test_a_csv_with_a_map_of_columns(tmp_path):
    path = write(tmp_path / "theirs.csv", ["net", "B", "time to 90 %", "seed"], ["a", 8, 90, 3], ["a", 16, 50, 4])
    columns = parse_map(["shape=net", "batch_size=B", "steps=time to 90 %"])
    rows = rows_of(imported(path, "csv", columns), tmp_path / "ours.csv")
    found = [(row.shape, row.batch_size, row.steps_to_target, row.seed) for row in rows]
    assert found == [("a", 8, 90, 3), ("a", 16, 50, 4)]
    with pytest.raises(InputError, match=r"no column 'Net' .for shape.: did you mean 'net'"):
        imported(path, "csv", {"shape": "Net"})
    with pytest.raises(InputError, match="expected OURS=THEIRS"):
        parse_map(["steps"])
    with pytest.raises(InputError, match="did you mean 'steps'"):
        parse_map(["stepz=B"])


def test_names_that_a_spreadsheet_would_calculate_are_no_formulas_there_and_come_back(tmp_path):
    names = ["=1+1", "-2|cmd", "+x", "@SUM(A1)", "'tis", "plain"]
    path = write(tmp_path / "theirs.csv", ["shape", "batch_size", "steps"], *[[name, 8, 90.5] for name in names])
    found = rows_of(imported(path, "csv", {}), tmp_path / "ours.csv")
    assert sorted(row.shape for row in found) == sorted(names)
    with (tmp_path / "ours.csv").open(newline="") as file:
        cells = [line["shape"] for line in csv.DictReader(file)]
    assert cells == ["'=1+1", "'-2|cmd", "'+x", "'@SUM(A1)", "''tis", "plain"]


RUNS = ["Name", "State", "Created", "Runtime", "model", "batch_size", "lr", "seed", "steps_to_target", "_step"]


def test_wandbs_table_of_runs(tmp_path):
    path = write(
        tmp_path / "runs.csv", RUNS,
        ["crisp-sun-1", "finished", "2024-01-01T00:00:00.000Z", 90, "wide", 8, 0.1, 0, 400, 1000],
        ["calm-sea-2", "finished", "2024-01-01T00:00:00.000Z", 90, "wide", 16, 0.1, 0, "", 1000],
        ["odd-owl-3", "crashed", "2024-01-01T00:00:00.000Z", 5, "wide", 32, 0.1, 0, "", 12],
    )  # fmt: skip
    rows = rows_of(imported(path, "wandb", {}), tmp_path / "ours.csv")
    assert [(r.batch_size, r.outcome.value, r.steps_run) for r in rows] == [
        (8, "reached", 400), (16, "censored", 1000), (32, "crashed", 12),
    ]  # fmt: skip
    assert {(row.shape, row.step_size) for row in rows} == {("wide", 0.1)}


def test_wandbs_table_of_runs_with_a_chart(tmp_path):
    head = [name for name in RUNS if name != "steps_to_target"]
    path = write(
        tmp_path / "runs.csv", head,
        ["a-1", "finished", "t", 90, "wide", 8, 0.1, 0, 30], ["b-2", "failed", "t", 9, "wide", 16, 0.1, 0, 10],
    )  # fmt: skip
    chart = write(
        tmp_path / "chart.csv",
        ["Step", *(f"{run} - val/loss{end}" for run, end in [("a-1", ""), ("a-1", "__MIN"), ("a-1", "__MAX"),
                                                             ("b-2", ""), ("b-2", "__MIN")])],
        [20, 0.2, 0.2, 0.2, "", ""], [0, 2.0, 2, 2, 3.0, 3], [10, 1.0, 1, 1, 2.5, 2.5], [30, 0.1, 0.1, 0.1, "", ""],
    )  # fmt: skip
    rows = rows_of(imported(path, "wandb", {}, chart, "val/loss <= 0.5"), tmp_path / "ours.csv")
    assert [(row.outcome.value, row.steps_to_target) for row in rows] == [("reached", 20), ("crashed", None)]
    assert rows[0].history[0].step == 10
    for arguments, message in [
        (({}, None, None), "--column steps=HEAD"),
        (({}, chart, None), "belong together"),
        (({}, chart, "val/acc > 0.5"), "column ending in ' - val/acc'"),
    ]:
        with pytest.raises(InputError, match=message):
            imported(path, "wandb", *arguments)


OPTUNA = [
    "", "number", "value", "datetime_start", "datetime_complete", "duration", "params_batch_size", "params_lr",
    "user_attrs_shape", "user_attrs_steps", "state",
]  # fmt: skip


def test_optunas_frame_of_trials(tmp_path):
    t = "2024-01-01 00:00:00"
    path = write(
        tmp_path / "trials.csv", OPTUNA,
        [0, 0, 0.3, t, t, "0 days", 8, 0.1, "wide", 400, "COMPLETE"],
        [1, 1, 0.2, t, t, "0 days", 8, 0.2, "wide", 300, "COMPLETE"],
        [2, 2, 0.5, t, t, "0 days", 8, 0.4, "wide", 100, "PRUNED"],
        [3, 3, "", t, t, "0 days", 16, 0.4, "wide", "", "FAIL"],
        [4, 4, "", t, "", "", 16, 0.4, "wide", "", "RUNNING"],
    )  # fmt: skip
    rows = rows_of(imported(path, "optuna", {}), tmp_path / "ours.csv")
    assert [(r.batch_size, r.step_size, r.outcome.value, r.phase) for r in rows] == [
        (8, 0.1, "reached", "tune"), (8, 0.2, "reached", "final"), (8, 0.4, "censored", "tune"),
        (16, 0.4, "crashed", "final"),
    ]  # fmt: skip
    by_value = imported(path, "optuna", {"steps": "value"})
    assert by_value[0]["steps"] == "0.3"
    bare = write(tmp_path / "bare.csv", ["number", "value", "params_batch_size", "state"], [0, 3, 8, "COMPLETE"])
    with pytest.raises(InputError, match="--column steps=value"):
        imported(bare, "optuna", {})


def science(folder, batch_size, trials):
    study = folder / "mnist" / "simple_cnn_base" / "sgd" / str(batch_size)
    study.mkdir(parents=True)
    about = {"batch_size": batch_size, "dataset": "mnist", "model": "simple_cnn_base", "optimizer": "sgd"}
    (study / "study.json").write_text(json.dumps({**about, "train_steps": 100, "parameter_configs": {}}))
    for trial, (status, rate, errors) in enumerate(trials, start=1):
        (study / str(trial)).mkdir()
        metadata = {"parameters": {"learning_rate": rate}, "status": status, "steps": 100, "trial_id": trial}
        (study / str(trial) / "metadata.json").write_text(json.dumps(metadata))
        lines = [(50 * k, 1.0, error) for k, error in enumerate(errors)]
        write(study / str(trial) / "measurements.csv", ["step", "train/loss", "val/error"], *lines)


def test_the_layout_of_batch_science(tmp_path):
    science(
        tmp_path / "data", 8,
        [("COMPLETE", 0.1, [0.9, 0.5, 0.1]), ("COMPLETE", 0.2, [0.9, 0.2, 0.1]), ("INFEASIBLE", 9.0, [0.9])],
    )  # fmt: skip
    science(tmp_path / "data", 32, [("COMPLETE", 0.1, [0.9, 0.2, 0.1]), ("INCOMPLETE", 0.2, [0.9]),
                                    ("COMPLETE", 0.3, [0.9, 0.8, 0.7])])  # fmt: skip
    lines = imported(tmp_path / "data", "batch_science", {}, target="val/error < 0.3")
    rows = rows_of(lines, tmp_path / "ours.csv")
    assert [(r.batch_size, r.step_size, r.outcome.value, r.steps_to_target, r.phase) for r in rows] == [
        (32, 0.1, "reached", 50, "final"), (32, 0.3, "censored", None, "tune"),
        (8, 0.1, "reached", 100, "tune"), (8, 0.2, "reached", 50, "final"), (8, 9.0, "diverged", None, "tune"),
    ]  # fmt: skip
    assert {(row.shape, row.dataset) for row in rows} == {("simple_cnn_base sgd", "mnist")}
    for arguments, message in [
        ({}, "say --target"),
        ({"target": "val/acc > 0.5"}, "expected one of train/loss, val/error"),
    ]:
        with pytest.raises(InputError, match=message):
            imported(tmp_path / "data", "batch_science", {}, **arguments)
    with pytest.raises(InputError, match=r"holds no study\.json"):
        imported(tmp_path / "none", "batch_science", {}, target="val/error < 0.3")


SAMPLES = Path(__file__).parent / "foreign_samples"
# trials that reached a loss of 0.2: steps by batch size; those short of it ran 400, the pruned one 200
REACHED = [(512, 140), (32, 40), (128, 80), (128, 60), (32, 180), (512, 80)]


@pytest.fixture
def storage(tmp_path):
    """Optuna's SQLite file, from its text."""
    path = tmp_path / "study.db"
    with sqlite3.connect(path) as database:
        database.executescript((SAMPLES / "optuna-5.0.0.sql").read_text())
    return path


def test_a_real_export_of_optuna_and_its_storage_say_the_same(storage, tmp_path):
    exported = rows_of(imported(SAMPLES / "optuna-5.0.0.csv", "optuna", {}), tmp_path / "a.csv")
    stored = rows_of(imported(storage, "optuna", {}), tmp_path / "b.csv")
    for rows in (exported, stored):
        assert [row.outcome.value for row in rows].count("crashed") == 1
        assert len(rows) == 12
        assert [(r.batch_size, r.steps_to_target) for r in rows if r.outcome.value == "reached"] == REACHED
        assert sorted(r.steps_run for r in rows if r.outcome.value == "censored") == [200, 400, 400, 400, 400]
        assert rows[0].step_size == 0.035511077661675036
    assert {row.study for row in stored} == {"logistic"}
    assert bs.batch_threshold(exported, "b_crit", exported[0].shape).n == 4  # the fastest trial of every batch size


def test_in_optunas_storage_another_target_is_looked_for(storage, tmp_path):
    lines = imported(storage, "optuna", {}, target="value < 0.25")
    rows = rows_of(lines, tmp_path / "c.csv")
    assert [(line["steps_before"], line["steps"]) for line in lines[:2]] == [(340, 360), (60, 80)]
    assert [row.outcome.value for row in rows].count("reached") == 9
    assert not [line for line in imported(storage, "optuna", {}, target="value < 0.01") if line.get("reached")]


def test_what_of_optuna_cannot_be_used_is_said(storage, tmp_path):
    with pytest.raises(InputError, match=r"trial 0 .COMPLETE. did not reach its target .* user attribute steps_run"):
        imported(SAMPLES / "optuna-5.0.0-without-steps-run.csv", "optuna", {})
    with pytest.raises(InputError, match="without multi_index=True"):
        imported(SAMPLES / "optuna-5.0.0-multi-index.csv", "optuna", {})
    with pytest.raises(InputError, match="no SQLite storage"):
        imported(SAMPLES / "optuna-5.0.0.csv", "optuna", {}, target="value < 0.2")
    with pytest.raises(InputError, match=r"what trial\.report was told"):
        imported(storage, "optuna", {}, target="loss < 0.2")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE trials (number INTEGER)")
    with pytest.raises(InputError, match="no storage of Optuna"):
        imported(other, "optuna", {})


def test_wandbs_api_table_and_histories(tmp_path):
    """As the script of W&B's guide writes runs; the summary is the guide's own, with a metric more."""
    summary = "{'_runtime': 4, '_step': 40, '_timestamp': 1644345412, '_wandb': {'runtime': 3}, 'loss': nan, 'v': -inf}"
    path = write(
        tmp_path / "project.csv", ["", "summary", "config", "name"],
        [0, summary, "{'model': 'wide', 'batch_size': 8, 'lr': 0.1, 'steps_to_target': 30}", "crisp-sun-1"],
        [1, summary, "{'model': 'wide', 'batch_size': 16, 'lr': 0.1}", "calm-sea-2"],
    )  # fmt: skip
    rows = rows_of(imported(path, "wandb", {}), tmp_path / "ours.csv")
    assert [(row.shape, row.batch_size, row.outcome.value, row.steps_run) for row in rows] == [
        ("wide", 8, "reached", 30), ("wide", 16, "censored", 40),
    ]  # fmt: skip
    head = ["", "_step", "_runtime", "_timestamp", "val/loss"]
    write(tmp_path / "histories/crisp-sun-1.csv", head, [0, 10, 1, 1, 0.9], [1, 20, 2, 2, ""], [2, 30, 3, 3, 0.4])
    write(tmp_path / "histories/calm-sea-2.csv", head, [0, 10, 1, 1, 0.9], [1, 40, 2, 2, 0.8])
    found = imported(path, "wandb", {}, tmp_path / "histories", "val/loss <= 0.5")
    assert [(line["reached"], line["steps"]) for line in found] == [(True, 30), (False, 40)]
    write(tmp_path / "histories/calm-sea-2.csv", head[:-1], [0, 10, 1, 1])
    with pytest.raises(InputError, match=r"calm-sea-2\.csv has no column 'val/loss'"):
        imported(path, "wandb", {}, tmp_path / "histories", "val/loss <= 0.5")
    bad = write(tmp_path / "bad.csv", ["summary", "config", "name"], ["<Summary>", "{}", "a"])
    with pytest.raises(InputError, match="summary or config is no dictionary"):
        imported(bad, "wandb", {})


def test_the_trial_that_batch_science_publishes(tmp_path):
    lines = imported(SAMPLES / "batch_science", "batch_science", {}, target="val/classification_error < 0.25")
    (row,) = rows_of(lines, tmp_path / "ours.csv")
    assert (row.dataset, row.shape, row.batch_size) == ("imagenet", "resnet_50 nesterov_momentum", 256)
    assert (row.outcome.value, row.steps_to_target) == ("reached", 597500)
    assert lines[0]["steps_before"] == 4500
    assert lines[0]["step_size"] == 0.0124894465250831


def test_batch_sciences_groups_hold_the_same_workloads_apart(tmp_path):
    source = SAMPLES / "batch_science/imagenet"
    for group in (".", "solution_quality"):
        for path in filter(Path.is_file, source.rglob("*")):
            to = tmp_path / "data" / group / "imagenet" / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
    lines = imported(tmp_path / "data", "batch_science", {}, target="val/classification_error < 0.25")
    studies = {line["study"] for line in lines}
    assert studies == {f"{group}imagenet resnet_50 nesterov_momentum" for group in ("", "solution_quality ")}
    assert len(rows_of(lines, tmp_path / "ours.csv")) == 2
