"""Networks, data and losses of the user's own as a user has them: files in a folder, a study file, a real process."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import batchscope
from batchscope import importing
from batchscope.records.export import export
from batchscope.running.shards import missing_shards
from batchscope.studies import read
from tests.studies import own_modules

TRANSFORMER = """
name = "own-transformer"
dataset = "digits"
num_examples = 200
family = "own_models:transformer"
budget = 3000
depths = [2]
batch_sizes = [4, 100]
target = { train_accuracy = 1.0 }
max_epochs = 6
num_seeds = 1
step_sizes = { min = 0.1, max = 0.1 }
diversity_every = 5
"""
RESNET = """
name = "own-resnet"
data = "own_data:make"
dataset_options = { size = 200 }
family = "own_models:resnet"
shapes = [[1, 8], [2, 6]]
batch_sizes = [8, 100]
loss = "own_models:smooth"
metric = "own_models:top2"
target = { train_metric_at_least = 2.0 }
max_epochs = 8
num_seeds = 1
step_sizes = { min = 0.05, max = 0.05 }
"""


@pytest.fixture
def folder(tmp_path):
    own_modules.write(tmp_path)
    (tmp_path / "transformer.toml").write_text(TRANSFORMER)
    (tmp_path / "resnet.toml").write_text(RESNET)
    return tmp_path


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Started as the console script is: nothing of the current directory on Python's path."""
    source = str(Path(batchscope.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "batchscope", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(folder: Path, *words: str) -> tuple[int, str, str]:
    process = command(folder, *words)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def rows_in(directory: Path) -> int:
    return len(read(directory).rows) if (directory / "results-1of1.sqlite").exists() else 0


def killed_after_a_row(folder: Path, directory: Path, *words: str) -> None:
    """Kill a run when its first cohort is stored and another one is running."""
    process, end = command(folder, *words), time.monotonic() + 240
    while rows_in(directory) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.communicate()


def whole(study: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that nothing interrupts, in this process; its modules are forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(importing, "_TOLD", [])
    batchscope.run(batchscope.Study.from_toml(study), out, executor="inline")
    for name in [name for name in sys.modules if name.startswith("own_m") or name.startswith("own_l")]:
        monkeypatch.delitem(sys.modules, name)


def exported(directory: Path) -> list[dict[str, str]]:
    export(read(directory).rows, f"{directory}.csv")
    with open(f"{directory}.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow  # twenty seconds of real training, twice; an own ResNet dies and comes back in the default suite
def test_an_own_transformer_beside_its_study_file_killed_and_resumed_in_workers(folder, monkeypatch):
    """Run from another folder; reading the results needs none of the code."""
    (folder / "elsewhere").mkdir()
    words = ("run", "../transformer.toml", "--workers", "1", "--out")
    killed_after_a_row(folder / "elsewhere", folder / "killed", *words, "../killed")
    assert rows_in(folder / "killed") == 1
    status, printed, err = ended(folder / "elsewhere", *words, "../killed")
    assert (status, err.count("Traceback")) == (0, 0), err
    assert "2 trials in" in printed
    whole(folder / "transformer.toml", folder / "whole", monkeypatch)
    assert exported(folder / "killed") == exported(folder / "whole")
    assert {row["heldout_loss"] != "" for row in exported(folder / "whole")} == {True}
    (folder / "own_models.py").unlink()
    status, printed, err = ended(folder / "killed", "report", "../whole")
    assert (status, err) == (0, "")
    assert "transformer" in printed


@pytest.mark.system
def test_an_own_resnet_with_own_data_loss_and_metric_killed_and_resumed(folder):
    words = ("run", "resnet.toml", "--executor", "inline", "--out")
    killed_after_a_row(folder, folder / "killed", *words, "killed")
    assert rows_in(folder / "killed") < 4
    assert ended(folder, *words, "killed")[0] == 0
    rows = exported(folder / "killed")
    assert len(rows) == 4
    assert all(float(row["train_metric"]) == 1.0 for row in rows)
    assert len({row["source"] for row in rows} | {row["loss_source"] for row in rows}) == 1  # one file has it all
    path = folder / "own_models.py"
    path.write_text(path.read_text().replace("nn.ReLU()", "nn.GELU()"))
    status, _, err = ended(folder, *words, "killed")
    assert status == 2
    assert "holds another study" in err
    assert "source = " in err


def test_a_module_that_is_not_there_is_one_message_and_status_2(folder):
    (folder / "transformer.toml").write_text(TRANSFORMER.replace("own_models:transformer", "own_modls:transformer"))
    status, printed, err = ended(folder, "plan", "transformer.toml")
    assert (status, printed, len(err.splitlines())) == (2, "", 1)
    assert f"no module 'own_modls' in {folder} or on Python's path; put its file beside the study file" in err


NET = """
from torch import nn

def net(depth, width, input_shape, d_out):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, d_out))
"""
PART = """
name = "part"
dataset = "digits"
num_examples = 100
family = "nets_of_shards:net"
shapes = [[1, 5]]
batch_sizes = [32, 100]
target = { train_accuracy = 0.5 }
max_epochs = 3
num_seeds = 1
step_sizes = { min = 0.1, max = 0.1 }
"""


@pytest.mark.system
def test_shards_of_an_own_network_are_read_and_merged_where_its_code_is_not(tmp_path, monkeypatch):
    """Rows are read without the code; only which shards are missing takes it, and the text says so."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/nets_of_shards.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path / "code")
    results = batchscope.run(batchscope.Study.from_toml(PART), tmp_path / "part", executor="inline", shard="1/2")
    assert [str(one) for one in missing_shards(results)] == ["2/2 (never started, 1 of 1 cells left)"]
    status, text, error = ended(tmp_path, "merge", "part", "--out", "all")
    assert (status, error) == (0, "")
    assert "Which shards are missing cannot be told: family 'nets_of_shards:net': no module" in text
    assert rows_in(tmp_path / "all") == len(results.rows)
    status, text, _ = ended(tmp_path, "report", "all", "--json")
    assert (status, json.loads(text)["missing_shards"]) == (0, None)
