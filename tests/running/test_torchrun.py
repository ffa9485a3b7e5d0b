"""A study under torchrun: two ranks give the rows of one process; a rank that dies leaves a run that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import batchscope as bs
from batchscope.running.executors import distributed
from batchscope.running.store import Store
from tests.running.common import processes_with, wait_for

ROOT = Path(__file__).parents[2]
STUDY = """
name = "ranks"
dataset = "digits"
num_examples = 120
shapes = [[1, 5]]
batch_sizes = [10]
target = { train_accuracy = 1.0 }
max_epochs = 6
num_seeds = 2
step_sizes = { min = 0.05, max = 0.05 }
dtype = "float64"
"""


def torchrun(study: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*words, "tests.running.torchrun_program", "run", str(study), "--out", str(out)]
    return subprocess.run(
        [sys.executable, *command, "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.mark.system
def test_a_rank_dies_and_the_same_command_goes_on_to_the_rows_of_one_process(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed = torchrun(study, out, DIE_AT_EPOCH="3")
    assert killed.returncode != 0
    assert "a process of this run died" in killed.stderr
    assert "the same command goes on" in killed.stderr
    assert len(list((out / "checkpoints").glob("*.pt"))) == 1
    assert not bs.studies.read(out).rows

    done = torchrun(study, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 trials in") == 1  # one rank speaks for all
    assert not list((out / "checkpoints").iterdir())
    alone = bs.run(bs.Study.from_toml(STUDY), tmp_path / "alone", executor="inline", device="cpu")
    for one, other in zip(bs.studies.read(out).rows, alone.rows, strict=True):
        assert one.trial_id == other.trial_id
        assert (one.outcome, one.steps_run) == (other.outcome, other.steps_run)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-8)
        assert one.history[-1].noise_scale is not None
        assert one.execution == "one after another, on 2 ranks"


def test_a_rank_whose_team_is_broken_is_not_ended_before_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[object] = []
    monkeypatch.setattr(distributed.signal, "signal", lambda number, handler: handlers.append((number, handler)))
    team = object.__new__(distributed._Team)
    team.broken = False
    assert "the same command goes on" in str(team._lost())
    team.leave()
    assert handlers == [(signal.SIGTERM, signal.SIG_IGN)]  # and stays so


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the ranks")
def test_ranks_end_with_their_launcher_and_execute_nothing_of_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("max_epochs = 6", "max_epochs = 100000"))
    for name in ("operator", "types"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__name__)")
    tag = uuid.uuid4().hex
    run = [sys.executable, "-P", "-m", "batchscope", "run", "study.toml", "--out", "run", "--device", "cpu"]
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "--no-python",
            *run,
        ],
        cwd=tmp_path,
        env={**os.environ, "TAG": tag},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: list((tmp_path / "run").glob("results-*.sqlite")), seconds=120)
    assert len(processes_with(tag)) >= 3
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not processes_with(tag), seconds=60)
    with Store(tmp_path / "run", bs.studies.study.read_studies(tmp_path / "study.toml")):
        pass  # the directory is not locked
    assert not (tmp_path / "executed").exists()
