"""`batchscope advise` as a user types it: on a run directory, with times assumed, kept in a file, and taken here."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import warnings

import pytest

from batchscope.cli.advise import _kept
from batchscope.cli.main import main
from batchscope.records.row import Outcome
from batchscope.running.store import Store
from batchscope.scaling import TimeModel, advise
from batchscope.studies import Study, read
from tests.analysis.conftest import make_rows
from tests.scaling.common import MODEL, curve

WIDE, DEEP, NEVER = "64-54-10 relu", "64-36x2-10 relu", "64-26x4-10 relu"
EPOCHS = {
    WIDE: {16: (2.0, 2.1, 1.9), 64: (2.6, 2.7, 2.5), 256: (4.9, 5.0, 5.2), 1024: (14.0, 14.5, 15.0)},
    DEEP: {16: (4.0, 4.2, 3.9), 64: (8.0, 8.3, 7.8), 256: (24.0, 25.0, 23.5), 1024: (88.0, 90.0, 86.0)},
    NEVER: {16: (None, None, None), 64: (None, None, None)},
}
DEPTHS = {WIDE: (1, 54), DEEP: (2, 36), NEVER: (4, 26)}


def study(name):
    return Study(
        name=name,
        dataset="digits",
        budget=4000,
        depths=[1, 2, 4],
        batch_sizes=[16, 64, 256, 1024],
        num_seeds=3,
        target={"train_accuracy": 0.96},
    )


def rows(name):
    fields = {"study": name, "dataset": "digits", "num_weights": 3996, "num_parameters": 4060, "multiply_adds": 3996}
    return [
        row
        for shape, table in EPOCHS.items()
        for row in make_rows(table, shape=shape, depth=DEPTHS[shape][0], width=DEPTHS[shape][1], **fields)
    ]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    with Store(path, (study("one"),)) as store:
        store.add(rows("one"))
    assert {row.outcome for row in read(path).rows} == {Outcome.REACHED, Outcome.CENSORED}
    return path


@pytest.fixture
def called(capsys, directory):
    """(exit status, standard output, standard error) of the command within this process, speed assumed."""

    def call(*words, at=directory, speed=("--flops", "1e7")):
        status = main(["advise", str(at), *map(str, (*speed, *words))])
        return status, *capsys.readouterr()

    return call


def test_the_text_fits_and_says_what_each_shape_can_use(called):
    status, out, _ = called("--workers", "1-64", "--price", "2", "--deadline", "1min")
    assert status == 0
    body = out.splitlines()[1:]  # the first line is the study's own
    assert max(len(line.rstrip()) for line in body) <= 100
    for words in (
        "How many workers each shape can use",
        f"Wide ({WIDE}) against deep ({DEEP}) at equal parameters: workers pay up to",
        "With 64 workers:",
        "To be done within 60 s takes",
        f"{NEVER} is left out: no curve of steps against batch size: no run met the target",
        "links assumed",
        "(extrapolated)",
    ):
        assert words in " ".join(out.split()), words


def test_json_holds_the_numbers_of_the_library(called, directory):
    status, out, _ = called("--json", "--workers", "1,9", "--bandwidth", "8Gbit/s", "--latency", "20us")
    assert status == 0
    found = json.loads(out)["studies"]["one"]
    model = TimeModel(0.0, 6 * 3996 / 1e7, 4060, bandwidth=1e9, latency=2e-5)
    import batchscope as bs

    expected = advise(model, bs.fit(read(directory))[WIDE], workers=[1, 9])
    got = found["shapes"][WIDE]
    assert [point["seconds"] for point in got["points"]] == pytest.approx([p.seconds for p in expected.points])
    assert got["points"][1]["interval"] == pytest.approx(expected.points[1].interval)
    assert got["saturation"]["text"] == expected.saturation.text
    assert got["model"]["origin"].endswith("links as given")
    assert list(found["left_out"]) == [NEVER]
    assert found["design"]["decision"] == WIDE


def test_memory_batch_size_and_one_shape(called):
    _, out, _ = called("--memory", "32", "--workers", "1-4", "--shape", "deep", "--json")
    points = json.loads(out)["studies"]["one"]["shapes"][DEEP]["points"]
    assert max(point["batch_size"] for point in points[:1]) <= 32
    _, out, _ = called("--batch-size", "64", "--shape", "wide", "--workers", "1-2")
    assert out.count("last worker saves") == 1
    assert " 64 " in out


def test_the_figure_is_drawn_where_it_was_asked_for(called, tmp_path):
    status, out, _ = called("--figure", tmp_path / "new" / "workers.svg")
    assert status == 0
    drawn = (tmp_path / "new" / "workers.svg").read_text()
    assert all(words in drawn for words in ("What more workers buy", WIDE, DEEP, "speed-up over one worker"))
    assert out.rstrip().endswith("workers.svg")
    status, _, err = called("--figure", tmp_path / "workers.xyz")
    assert (status, "ends in .png, .svg or .pdf" in err) == (2, True)


def test_the_batch_kept_in_the_figure_is_whole_where_the_best_for_one_worker_is_not():
    best = advise(MODEL, curve(), workers=[1, 2, 4])
    alone = best.points[0].batch_size
    assert alone != round(alone)
    assert [point.batch_size for point in _kept(best).points] == [round(alone)] * 3


def test_shapes_are_timed_here_once_and_kept(called, tmp_path, monkeypatch):
    kept = tmp_path / "times.json"
    monkeypatch.setattr("batchscope.cli.worker_times.SECONDS_PER_SHAPE", 0.02)
    status, out, err = called("--workers", "1-2", "--json", speed=("--times", kept))
    assert status == 0, err
    assert f"timing {WIDE}" in err
    assert "held out: a step of 128 examples" in err
    assert set(json.loads(kept.read_text())) == set(EPOCHS)
    before = json.loads(out)["studies"]["one"]["shapes"][WIDE]["model"]
    assert before["num_parameters"] == 4060
    assert before["overhead"] > 0
    _, out, err = called("--workers", "1-2", "--json", "--latency", "7ms", speed=("--times", kept))
    assert "timing" not in err
    after = json.loads(out)["studies"]["one"]["shapes"][WIDE]["model"]
    assert (after["overhead"], after["latency"]) == (before["overhead"], 0.007)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", "0-3"), "whole numbers from 1"),
        (("--workers", "x"), "--workers 'x'"),
        (("--bandwidth", "10Gb"), "--bandwidth '10Gb': give a number above 0 and a unit"),
        (("--latency", "-3s"), "--latency"),
        (("--latency=0us",), "--latency '0us'"),
        (("--deadline", "2 weeks"), "unit of ns"),
        (("--deadline", "1e308h"), "--deadline '1e308h'"),
        (("--bandwidth", "1e-300"), "bandwidth = 1e-300 in a time model"),
        (("--latency", "1e300"), "latency = 1e+300 in a time model"),
        (("--flops", "1e-300"), "per_example = "),
        (("--memory", "0.5"), "--memory 0.5"),
        (("--memory", "nan"), "--memory nan"),
        (("--flops", "-1"), "--flops -1"),
        (("--processes", "0"), "--processes 0: expected 1 to 128"),
        (("--processes", "100000"), "--processes 100000: expected 1 to 128"),
        (("--shape", "broad"), "no shape 'broad'"),
        (("--shape", NEVER), f"{NEVER} is left out: no curve of steps against batch size: no run met the target"),
        (
            ("--batch-size", "4000"),
            "is not possible on any of these numbers of workers: the training set holds 1024 ex",
        ),
        (("--batch-size", "5000"), "says nothing about workers"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(called, words, message):
    if words == ("--latency", "-3s"):
        words = ("--latency=-3s",)
    if words == ("--batch-size", "5000"):
        words = (*words, "--memory", "10", "--workers", "1-4")
    status, out, err = called(*words)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--price", "0"), "price = 0"),
        (("--price", "nan"), "price = nan"),
        (("--price", "1e308"), "price = 1e+308"),
        (("--worth", "300"), "worth = 3"),
        (("--batch-size", "2.5"), "batch_size = 2.5; expected a whole number"),
        (("--batch-size", "inf"), "batch_size = inf; expected a whole number"),
        (("--workers", "0"), "whole numbers from 1 to 4096"),
        (("--workers", "4097"), "whole numbers from 1 to 4096"),
        (("--figure", "workers.gif"), "ends in .png, .svg or .pdf"),
    ],
)
def test_wishes_nothing_can_meet_are_refused_once_and_before_anything_is_timed(called, words, message):
    status, out, err = called(*words, speed=())
    assert (status, out) == (2, "")
    assert err.count(message) == 1
    assert "timing" not in err


@pytest.mark.parametrize("words", [("--bandwidth", "1e-18"), ("--latency", "1e18"), ("--memory", "1e308")])
def test_the_farthest_numbers_that_are_taken_end_in_no_warning(called, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, _, err = called(*words, "--price", "1e18")
    assert (status, err) == (0, "")


def test_no_batch_is_larger_than_the_training_set(called):
    """These runs had 1024 examples; with 64 workers the wide shape would take more, if there were more."""
    words = ("--bandwidth", "1e4", "--workers", "1-64")
    status, out, _ = called(*words, "--json")
    points = json.loads(out)["studies"]["one"]["shapes"][WIDE]["points"]
    assert status == 0
    assert max(point["batch_size"] for point in points) == 1024
    assert "workers is the whole training set, 1024 examples." in " ".join(called(*words)[1].split())


def test_one_batch_size_holds_for_the_choice_of_a_shape_too(called):
    _, out, _ = called("--batch-size", "64", "--workers", "1-8", "--json")
    found = json.loads(out)["studies"]["one"]["design"]
    assert {candidate["point"]["batch_size"] for candidate in found["candidates"]} == {64}


def test_a_study_that_says_nothing_does_not_silence_its_neighbour(called, tmp_path):
    never = [dataclasses.replace(row, study="none") for row in rows("one") if row.shape == NEVER]
    with Store(tmp_path, (study("none"), study("one"))) as store:
        store.add([*never, *rows("one")])
    status, out, err = called(at=tmp_path)
    reason = f"tudy 'none' says nothing about workers: {NEVER}: no run met the target"
    assert (status, err) == (0, "")
    assert "With 64 workers:" in out
    assert f"S{reason}." in " ".join(out.split())
    found = json.loads(called("--json", at=tmp_path)[1])
    assert (list(found["studies"]), found["silent"]) == (["one"], {"none": f"s{reason}"})
    assert called("--shape", WIDE, at=tmp_path)[0] == 0


def test_a_curve_that_makes_b_crit_too_large_says_so(called, tmp_path):
    running = {"target_metric": "train_accuracy_running", "evaluations_per_epoch": 1}
    with Store(tmp_path, (study("one"),)) as store:
        store.add([dataclasses.replace(row, **running) for row in rows("one")])
    why = "a running accuracy, an average over its epoch, is met late"
    assert why in " ".join(called(at=tmp_path)[1].lower().split())
    assert why not in " ".join(called()[1].lower().split())
    notes = json.loads(called("--json", at=tmp_path)[1])["studies"]["one"]["shapes"][WIDE]["notes"]
    assert any(why in note.lower() for note in notes)


def test_a_file_of_other_things_is_no_file_of_times(called, tmp_path):
    for text in ("[]", "{", '{"net": {}}', '{"net": 3}'):
        (tmp_path / "times.json").write_text(text)
        status, _, err = called(speed=("--times", tmp_path / "times.json"))
        assert status == 2, text
        assert err.startswith("batchscope advise:")


def test_advice_on_assumed_speed_is_instant_and_without_torch(directory):
    words = ["advise", str(directory), "--flops", "1e7"]
    code = f"import sys; from batchscope.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_not_a_run_directory(called, tmp_path):
    status, _, err = called(at=tmp_path)
    assert status == 2
    assert "is not a run directory" in err


def test_a_study_without_runs_says_so(called, tmp_path):
    with Store(tmp_path, (study("empty"),)):
        pass
    status, _, err = called(at=tmp_path)
    assert status == 2
    assert "no finished runs" in err
