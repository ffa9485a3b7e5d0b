"""The commands as a user types them: killed, doubled, interrupted, and fed with nonsense."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import time
import uuid
from pathlib import Path

import pytest

import batchscope as bs
from batchscope.records.export import export
from batchscope.studies import Study
from tests.studies.common import make_study

STUDY = "study.toml"


@pytest.fixture
def study_file(tmp_path):
    (tmp_path / STUDY).write_text(make_study().to_toml())
    return tmp_path / STUDY


@pytest.fixture
def command(batchscope_command):
    """Run a command to its end: (exit status, standard output, standard error)."""

    def run(*words, **environment):
        process = batchscope_command(*words, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


@pytest.fixture
def whole(tmp_path, fake) -> list[dict[str, str]]:
    """The export of an uninterrupted run, made in this process."""
    bs.run(make_study(), tmp_path / "whole", executor="inline")
    return exported(tmp_path / "whole")


def exported(directory: Path) -> list[dict[str, str]]:
    """The exported rows without their timing column."""
    export(bs.studies.read(directory).rows, f"{directory}.csv")
    with open(f"{directory}.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def trials_in(directory: Path) -> int:
    return len(bs.studies.read(directory).rows) if (directory / "results-1of1.sqlite").exists() else 0


def processes_with(tag: str) -> set[int]:
    """Processes that have a word in their environment (Linux)."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if tag.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_killed_at_any_moment_and_run_again_the_export_is_that_of_an_uninterrupted_run(
    tmp_path, study_file, command, batchscope_command, whole, executor
):
    words = ("run", STUDY, "--executor", executor, "--workers", "1", "--out", "killed")
    moments, stored = random.Random(0), [0]
    for _ in range(3):
        process = batchscope_command(*words, FAKE_SECONDS="0.1")
        wait_for(lambda p=process: p.poll() is not None or trials_in(tmp_path / "killed") > stored[-1])
        time.sleep(0.3 * moments.random())
        process.kill()
        process.communicate()
        stored.append(trials_in(tmp_path / "killed"))
    assert stored == sorted(stored)
    assert any(0 < number < len(whole) for number in stored), "no kill came in the middle of the study"
    assert command(*words)[0] == 0
    assert exported(tmp_path / "killed") == whole


def test_killed_while_starting_nothing_is_in_the_way(tmp_path, study_file, command, batchscope_command, whole):
    words = ("run", STUDY, "--executor", "inline", "--out", "killed")
    for name in ("", "study.toml", "results-1of1.sqlite"):
        process = batchscope_command(*words, FAKE_SECONDS="0.1")
        wait_for(lambda name=name: (tmp_path / "killed" / name).exists())
        process.kill()
        process.communicate()
    assert command(*words)[0] == 0
    assert exported(tmp_path / "killed") == whole


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the workers")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_run(tmp_path, study_file, batchscope_command, how):
    tag = uuid.uuid4().hex
    process = batchscope_command("run", STUDY, "--out", "out", "--workers", "2", FAKE_SECONDS="30", TAG=tag)
    wait_for(lambda: len(processes_with(tag)) == 3)
    time.sleep(0.7)  # in the middle of a cohort, mostly
    process.send_signal(how)
    process.communicate(timeout=20)
    wait_for(lambda: not processes_with(tag), seconds=20)


def test_a_worker_killed_from_outside_is_replaced(tmp_path, study_file, batchscope_command, whole):
    tag = uuid.uuid4().hex
    process = batchscope_command("run", STUDY, "--out", "out", "--workers", "2", FAKE_SECONDS="0.3", TAG=tag)
    wait_for(lambda: len(processes_with(tag)) == 3)
    os.kill(max(processes_with(tag) - {process.pid}), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert exported(tmp_path / "out") == whole


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, study_file, command, batchscope_command):
    process = batchscope_command("run", STUDY, "--out", "out", "--executor", "inline", FAKE_SECONDS="0.1")
    wait_for(lambda: (tmp_path / "out" / "results-1of1.sqlite").exists())
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command resumes" in err
    assert "Traceback" not in err
    kept = exported(tmp_path / "out")
    assert command("run", STUDY, "--out", "out", "--executor", "inline")[0] == 0
    finished = exported(tmp_path / "out")
    assert len(kept) < len(finished)
    assert [row for row in finished if row["trial_id"] in {old["trial_id"] for old in kept}] == kept


def test_a_second_run_on_a_directory_is_refused_and_disturbs_nothing(
    tmp_path, study_file, command, batchscope_command, whole
):
    first = batchscope_command("run", STUDY, "--out", "out", "--executor", "inline", FAKE_SECONDS="0.5")
    wait_for(lambda: (tmp_path / "out" / "results-1of1.sqlite").exists())
    status, out, err = command("run", STUDY, "--out", "out", "--executor", "inline")
    assert (status, out) == (2, "")
    assert "another run is writing" in err
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert exported(tmp_path / "out") == whole


def test_crashed_trials_give_status_1_and_their_message(tmp_path, study_file, command):
    words = ("run", STUDY, "--out", "out", "--executor", "inline")
    status, _, err = command(*words, FAKE_TROUBLE="raise:53")
    assert status == 1
    assert "8 trials crashed; the first: ValueError: the loss turned purple." in err
    assert "Traceback" not in err
    assert command(*words)[0] == 0


NONSENSE = [
    (["run", "quickstrat"], "did you mean 'quickstart'"),
    (["run", "chen2018/figure3x"], "did you mean 'chen2018/figure3"),
    (["run", "missing.toml"], "cannot be read"),
    (["plan", "bad.toml"], "unknown key 'batchsizes': did you mean 'batch_sizes'"),
    (["plan", "empty.toml"], "batch_sizes: the list is empty"),
    (["run", "large.toml", "--out", "out"], "batch size 1000 is larger than the 701 training examples"),
    (["run", "small.toml", "--out", "out"], "too small for 1 hidden layers"),
    (["run", "nodata.toml", "--out", "out"], "mnist"),
    (["run", STUDY, "--out", "study.toml"], "cannot be written"),
    (["run", STUDY, "--out", "out", "--shard", "3/2"], "expected I/N"),
    (["run", STUDY, "--out", "out", "--workers", "0"], "expected at least 1"),
    (["plan", STUDY, "--workers", "0"], "expected at least 1"),
    (["export", "nowhere", "rows.csv"], "is not a run directory"),
]


@pytest.mark.parametrize(("words", "message"), NONSENSE, ids=[" ".join(words) for words, _ in NONSENSE])
def test_nonsense_is_one_message_and_status_2(tmp_path, study_file, command, words, message):
    (tmp_path / "bad.toml").write_text(make_study().to_toml().replace("batch_sizes", "batchsizes"))
    (tmp_path / "empty.toml").write_text(
        re.sub(r"(?s)batch_sizes = \[.*?\]", "batch_sizes = []", make_study().to_toml())
    )
    (tmp_path / "large.toml").write_text(make_study(batch_sizes=[1000]).to_toml())
    (tmp_path / "small.toml").write_text(make_study(budget=3).to_toml())
    missing = Study(name="m", dataset="fashion_mnist", shapes=[[1, 3]], batch_sizes=[7], target={"train_accuracy": 0.9})
    (tmp_path / "nodata.toml").write_text(missing.to_toml())
    empty = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    status, out, err = command(*words, **empty)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("batchscope") == 1 or words[1] == "nodata.toml"  # says at length where it looked
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_json_is_one_object_on_standard_output(tmp_path, study_file, command):
    for words, key in [
        (("plan", STUDY), "studies"),
        (("run", STUDY, "--out", "out", "--executor", "inline"), "table"),
        (("export", "out", "rows.json"), "trials"),
        (("recipes",), "table1"),
        (("run", "quickstrat"), "error"),
    ]:
        _, out, _ = command(*words, "--json")
        assert key in json.loads(out)


def test_plan_counts_what_run_then_trains(tmp_path, study_file, command):
    status, out, _ = command("plan", STUDY)
    assert status == 0
    assert "6 cells, 12 cohorts, 42 trials" in out
    assert not (tmp_path / "runs").exists()


def test_plain_progress_lines_count_to_the_end(study_file, command):
    _, _, err = command("run", STUDY, "--out", "out", "--executor", "inline")
    lines = err.strip().splitlines()
    assert lines[0].startswith("0/42 trials")
    done, _, total = lines[-1].split()[0].partition("/")
    assert done == total
    assert int(total) >= 42


def test_a_run_ends_with_its_answer_its_page_and_the_next_command(tmp_path, study_file, command):
    status, out, _ = command("run", STUDY, "--out", "out", "--executor", "inline", "--report")
    assert status == 0
    name = make_study().name
    assert out.startswith(f"{name}: ")
    assert "trials in out\n" in out
    assert "Next: batchscope report out" in out
    assert len(out.splitlines()) <= 40
    assert (tmp_path / "out/report.html").stat().st_size > 10_000
    assert list((tmp_path / "out/figures").glob("*.png"))
    assert "Next: batchscope report out --html out/report.html" in command("run", STUDY, "--out", "out")[1]
