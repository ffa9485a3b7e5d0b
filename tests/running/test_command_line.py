"""The commands as a user types them: killed, doubled, interrupted, and fed with nonsense."""

from __future__ import annotations

import json
import re

import pytest

from batchscope.studies import Study
from tests.running.common import STUDY, exported, wait_for
from tests.studies.common import SMALL, make_study

pytestmark = pytest.mark.system


def test_killed_while_starting_nothing_is_in_the_way(tmp_path, study_file, command, batchscope_command, whole):
    words = ("run", STUDY, "--executor", "inline", "--out", "killed")
    for name in ("", "study.toml", "results-1of1.sqlite"):
        process = batchscope_command(*words, FAKE_SECONDS="0.1")
        wait_for(lambda name=name: (tmp_path / "killed" / name).exists())
        process.kill()
        process.communicate()
    assert command(*words)[0] == 0
    assert exported(tmp_path / "killed") == whole


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "protocol paper2018: the lowest training loss after two epochs"),
        ({"protocol": "tuned"}, "fewest epochs to the target; race = true makes the same choice sooner"),
        ({"protocol": "tuned", "race": True}, "in a race: tuning runs end when the first"),
        ({"step_sizes": {"min": 0.1, "max": 0.1}}, "protocol paper2018, with one to choose from: nothing is tuned"),
        ({"protocol": "fixed", "sum_step_size": 0.1, "step_sizes": None}, "one for the sum of a batch's losses"),
    ],
)
def test_plan_says_how_step_sizes_are_chosen(tmp_path, command, changes, words):
    values = {key: value for key, value in (SMALL | changes).items() if value is not None}
    (tmp_path / STUDY).write_text(Study.from_dict(values).to_toml())
    (line,) = (line for line in command("plan", STUDY)[1].splitlines() if line.startswith("  step sizes "))
    assert words in line


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
