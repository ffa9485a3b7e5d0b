"""Shards: as a batch system runs them, overlapping, again, and apart; gathered, every trial counts once."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import batchscope as bs
from batchscope.errors import InputError, StoreError
from batchscope.records.row import Outcome
from batchscope.running.merging import merge
from batchscope.running.shards import missing_shards
from tests.running.common import STUDY, exported, same_rows
from tests.studies.common import make_study
from tests.studies.conftest import PATCHED

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sbatch(tmp_path):
    """A stand-in for Slurm: runs the tasks of an array in turn, each as a job of the script, like `sbatch --array`."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/batchscope"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m batchscope.cli.main "$@"\n')
    command.chmod(0o755)

    def submit(script: Path, array: str = "", **environment: str) -> list[subprocess.CompletedProcess[str]]:
        asked = dict(re.findall(r"(?m)^#SBATCH --([a-z-]+)=(\S+)$", script.read_text()))
        first, _, last = (array or asked["array"]).partition("-")
        tasks = range(int(first), int(last or first) + 1)
        slurm = {"SLURM_ARRAY_TASK_COUNT": str(len(tasks))}
        path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        environment |= os.environ | {"PATH": path, "PYTHONPATH": PATCHED} | slurm | environment
        return [
            subprocess.run(
                [script],
                cwd=tmp_path,
                env=environment | {"SLURM_ARRAY_TASK_ID": str(task)},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            for task in tasks
        ]

    return submit


@pytest.fixture
def script(tmp_path, study_file) -> Path:
    """The script of docs/clusters.md."""
    (text,) = re.findall(r"(?s)```sh\n(#!/bin/sh\n.*?)```", (ROOT / "docs/clusters.md").read_text())
    path = tmp_path / "study.sh"
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.system
def test_the_documented_array_trains_the_study_and_report_tells_what_is_missing(
    tmp_path, fake, sbatch, script, whole, command
):
    out = "runs/study"
    for task in ("1", "3"):
        (done,) = sbatch(script, task)
        assert done.returncode == 0, done.stderr
    _, text, _ = command("report", out)
    assert "Not finished: shard 2/3 (never started, 2 of 2 cells left); the same command trains what is left" in text
    (record,) = json.loads(command("report", out, "--json")[1])["missing_shards"]
    assert record == {"shard": "2/3", "cells": 2, "unfinished": 2, "started": False}
    (failed,) = sbatch(script, "2", FAKE_TROUBLE="raise:11:")
    assert failed.returncode == 1
    assert "Not finished: shard 2/3 (1 of 2 cells left)" in command("report", out)[1]
    # The whole array again trains only what is missing; until that is done, every task says that trials crashed.
    assert [done.returncode for done in sbatch(script)] == [1, 0, 0]
    assert "Not finished" not in command("report", out)[1]
    assert exported(tmp_path / out) == whole


def test_more_shards_than_cells_leave_the_rest_without_work_and_are_told_at_once(tmp_path, study, fake, command):
    bs.run(study, tmp_path / "out", executor="inline", shard=f"1/{10**17}")
    left = json.loads(command("report", str(tmp_path / "out"), "--json")[1])["missing_shards"]
    assert [(one["shard"].split("/")[0], one["cells"]) for one in left] == [(f"{k}", 1) for k in range(2, 7)]
    assert not len(bs.run(study, tmp_path / "none", executor="inline", shard=f"{10**17}/{10**17}").rows)


def test_directories_of_overlapping_and_repeated_shards_merge_to_the_rows_of_one_run(tmp_path, study, fake):
    whole = bs.run(study, tmp_path / "whole", executor="inline")
    parts = {"a": "1/2", "b": "2/2", "c": "2/3", "d": "1/2"}
    for name, shard in parts.items():
        bs.run(study, tmp_path / name, executor="inline", shard=shard)
    first = merge([tmp_path / "a"], tmp_path / "all")
    assert first.trials == first.added < len(whole.rows)
    assert [str(one) for one in missing_shards(bs.studies.read(tmp_path / "all"))] == [
        "2/2 (never started, 3 of 3 cells left)"
    ]
    second = merge([tmp_path / name for name in parts], tmp_path / "all")
    assert second.trials == first.trials + second.added == len(whole.rows)
    assert second.repeated > first.trials
    results = bs.studies.read(tmp_path / "all")
    assert same_rows(results, whole)
    assert [run["shard"] for run in results.runs] == [shard.replace("/", "of") for shard in parts.values()]
    assert missing_shards(results) == ()
    again = merge([tmp_path / name for name in parts], tmp_path / "all")
    assert (again.trials, again.added) == (len(whole.rows), 0)
    assert bs.studies.read(tmp_path / "all").runs == results.runs


def test_a_finished_row_replaces_a_crashed_one_and_never_the_other_way_round(tmp_path, study, fake, monkeypatch):
    whole = bs.run(study, tmp_path / "whole", executor="inline")
    monkeypatch.setenv("FAKE_TROUBLE", "raise:53:")
    crashed = bs.run(study, tmp_path / "crashed", executor="inline")
    assert merge([tmp_path / "crashed"], tmp_path / "all").trials == len(crashed.rows)
    merge([tmp_path / "whole"], tmp_path / "all")
    merge([tmp_path / "crashed"], tmp_path / "all")
    results = bs.studies.read(tmp_path / "all")
    assert results.count(Outcome.CRASHED) == 0
    assert same_rows(results, whole)


def test_a_study_that_grew_in_one_directory_is_the_one_that_is_kept(tmp_path, study, fake):
    grown = make_study(batch_sizes=(11, 53, 211, 307))
    bs.run(study, tmp_path / "small", executor="inline", shard="1/2")
    bs.run(grown, tmp_path / "grown", executor="inline", shard="1/2")
    merge([tmp_path / "grown", tmp_path / "small"], tmp_path / "all")
    merge([tmp_path / "small"], tmp_path / "all")
    assert bs.studies.read(tmp_path / "all").study == grown


def test_what_does_not_belong_together_is_refused_by_name(tmp_path, study, fake):
    bs.run(study, tmp_path / "one", executor="inline", shard="1/2")
    bs.run(make_study(max_epochs=5), tmp_path / "other", executor="inline", shard="1/2")
    with pytest.raises(StoreError, match=r"other holds another study than .*one: 'small' with max_epochs = 5, not 31"):
        merge([tmp_path / "one", tmp_path / "other"], tmp_path / "all")
    with pytest.raises(StoreError, match="is not a run directory"):
        merge([tmp_path / "one", tmp_path / "none"], tmp_path / "all")
    bs.run(make_study(name="another"), tmp_path / "another", executor="inline", shard="1/2")
    for directories, out in ((("one", "another"), "all"), (("one",), "another")):
        with pytest.raises(StoreError, match=r"holds '\w+', which is not among the studies of .*: \['\w+'\]; merge"):
            merge([tmp_path / name for name in directories], tmp_path / out)
    with pytest.raises(InputError, match="nothing to merge"):
        merge([], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_results_on_two_versions_of_the_data_are_refused(tmp_path, fake):
    from batchscope.studies.dataset import load_data

    study = make_study(dataset=str(tmp_path / "own.npz"), num_examples=None, dataset_options={})
    for name in ("one", "two"):
        rng = np.random.default_rng(len(name) + ord(name[0]))
        np.savez(tmp_path / "own.npz", inputs=rng.normal(size=(701, 13)), targets=rng.normal(size=(701, 1)))
        load_data.cache_clear()
        bs.run(study, tmp_path / name, executor="inline", shard="1/2")
    with pytest.raises(StoreError, match=r"two holds results of 'small' on other data than .*one"):
        merge([tmp_path / "one", tmp_path / "two"], tmp_path / "all")


@pytest.mark.system
def test_merge_on_the_command_line(tmp_path, study, study_file, fake, command, whole):
    for index in (1, 2):
        bs.run(study, tmp_path / f"part{index}", executor="inline", shard=f"{index}/2")
    status, out, _ = command("merge", "part1", "--out", "all")
    assert status == 0
    assert "Not finished: shard 2/2 (never started, 3 of 3 cells left)" in out
    assert command("merge", "part1", "part2", "--out", "all")[0] == 0
    assert exported(tmp_path / "all") == whole
    record = json.loads(command("merge", "part1", "part2", "--out", "all", "--json")[1])
    assert record == {"out": "all", "trials": len(whole), "added": 0, "repeated": len(whole)}
    assert command("merge", "part1", "nowhere", "--out", "all")[0] == 2
    (tmp_path / STUDY).unlink()


@pytest.mark.parametrize("data", ["nonsense", "[1]", '{"small": {"seed": 0}}'])
def test_a_damaged_record_of_a_run_is_named(tmp_path, study, fake, data):
    results = bs.run(study, tmp_path / "out", executor="inline", shard="1/2")
    damaged = dataclasses.replace(results, runs=({**results.runs[0], "data": data},))
    with pytest.raises(StoreError, match=r"the record of the run of 20\S+ is damaged"):
        missing_shards(damaged)
