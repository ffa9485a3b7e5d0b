"""What every executor promises, on each of them: the same rows in the same order, whatever dies on the way."""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import batchscope as bs
from batchscope.errors import DataError, InputError
from batchscope.records.row import Outcome
from batchscope.running.executors import ray as ray_executor
from batchscope.running.progress import Status
from batchscope.running.store import Store
from batchscope.studies import Results, Study
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import cells
from batchscope.studies.protocols import next_cohorts
from batchscope.training.checkpoint import DAMAGED
from tests.running.common import STUDY, exported, processes_with, same_rows, trials_in, wait_for
from tests.studies.common import make_study
from tests.studies.conftest import PATCHED

pytestmark = pytest.mark.system

ON_RAY = pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.xdist_group("ray")])
EVERY = ["inline", "processes", ON_RAY]
POOLS = ["processes", ON_RAY]  # where a worker may die without the run
SLOW_ON_RAY = pytest.param("ray", marks=[*ON_RAY.marks, pytest.mark.slow])


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fake") / "settings"


@pytest.fixture(scope="module")
def ray_address(settings_file) -> str:
    """A cluster of two CPUs whose workers have the fake trainer."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATCHED)
        patch.setenv("FAKE_SETTINGS", str(settings_file))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def executor(request, fake, settings_file, patched_workers, monkeypatch) -> str:
    """The executor of a parametrised test, its workers with the fake trainer."""
    monkeypatch.setenv("FAKE_SETTINGS", str(settings_file))
    settings_file.unlink(missing_ok=True)
    if request.param == "ray":  # in this process it is joined already; commands find it by its address
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray_address"))
    return request.param


@pytest.fixture
def setting(settings_file, tmp_path) -> Callable[..., None]:
    """Set up the fake trainer, see `fake_trainer.setting`; what it did is in `log`."""

    def write(**settings: str) -> None:
        lines = {"FAKE_LOG": str(tmp_path / "log"), **settings}
        settings_file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    return write


@pytest.fixture
def log(tmp_path) -> Callable[[], list[list[str]]]:
    """(process, batch size) of every cohort begun, in order."""
    return lambda: [line.split() for line in (tmp_path / "log").read_text().splitlines()]


@pytest.fixture
def reference(tmp_path, study, fake) -> Results:
    """What an undisturbed run in this process gives."""
    return bs.run(study, tmp_path / "reference", executor="inline")


@pytest.mark.parametrize("executor", EVERY, indirect=True)
def test_the_rows_and_their_order_are_those_of_one_process(tmp_path, study, executor, setting, log, reference):
    setting()
    results = bs.run(study, tmp_path / "out", executor=executor, workers=2)
    assert same_rows(results, reference)
    assert [run["executor"] for run in results.runs] == [executor]
    begun = log()
    assert list(dict.fromkeys(size for _, size in begun)) == ["11", "53", "211"], "the longest begin first"
    bs.run(study, tmp_path / "out", executor=executor, workers=2)
    assert log() == begun, "a second run has nothing to train"


@pytest.mark.parametrize("executor", EVERY, indirect=True)
def test_a_cohort_that_raises_is_recorded_the_rest_goes_on_and_a_later_run_mends_it(
    tmp_path, study, executor, setting, reference
):
    setting(FAKE_TROUBLE="raise:53:")
    results = bs.run(study, tmp_path / "out", executor=executor, workers=1)
    crashed = [row for row in results.rows if row.outcome == Outcome.CRASHED]
    assert {row.batch_size for row in crashed} == {53}
    assert {row.message for row in crashed} == {"ValueError: the loss turned purple"}
    assert len(crashed) == 8
    assert [cell.crashed + cell.reached + cell.censored for cell in results.table()] == [3, 0, 3, 3, 0, 3]
    setting()
    assert same_rows(bs.run(study, tmp_path / "out", executor=executor, workers=1), reference)


@pytest.mark.parametrize(
    ("executor", "how"),
    [
        ("processes", "die-once"),
        ("processes", "exit-once"),
        pytest.param("ray", "die-once", marks=ON_RAY.marks),
        pytest.param("ray", "exit-once", marks=SLOW_ON_RAY.marks),
    ],
    indirect=["executor"],
)
def test_a_worker_that_dies_once_is_replaced_and_nothing_shows(tmp_path, study, executor, setting, reference, how):
    setting(FAKE_TROUBLE=f"{how}:53:{tmp_path / 'died'}")
    results = bs.run(study, tmp_path / "out", executor=executor, workers=1)
    assert (tmp_path / "died").exists()
    assert same_rows(results, reference)


@pytest.mark.parametrize("executor", POOLS, indirect=True)
def test_a_cohort_that_kills_its_worker_twice_is_recorded_and_the_rest_goes_on(tmp_path, executor, setting):
    setting(FAKE_TROUBLE="die:53:")
    results = bs.run(make_study(depths=(3,)), tmp_path / "out", executor=executor, workers=1)
    crashed = [row for row in results.rows if row.outcome == Outcome.CRASHED]
    assert len(crashed) == 4
    reason = {
        "processes": "was killed by signal 9 (SIGKILL), 2 times",
        "ray": "died: SYSTEM_ERROR, Worker unexpectedly",
    }
    assert all(reason[executor] in row.message and row.message.endswith(", 2 times") for row in crashed)
    assert {cell.batch_size for cell in results.table() if cell.reached + cell.censored == 3} == {11, 211}


@pytest.mark.parametrize("executor", ["processes", SLOW_ON_RAY], indirect=True)
def test_a_worker_killed_from_outside_is_replaced(tmp_path, study, executor, setting, log, reference):
    setting(FAKE_SECONDS="0.05")
    killed: list[int] = []

    def kill(status: Status) -> None:
        if status.finished_cohort and not killed:
            killed.append(int(log()[-1][0]))
            os.kill(killed[0], signal.SIGKILL)

    assert same_rows(bs.run(study, tmp_path / "out", executor=executor, workers=2, progress=kill), reference)
    assert killed
    assert killed[0] != os.getpid()
    assert len({process for process, _ in log()}) == 3


@pytest.mark.parametrize("executor", POOLS, indirect=True)
def test_while_one_cohort_takes_long_the_idle_worker_trains_all_others(tmp_path, fake, executor, setting, log):
    study = make_study(depths=(3,))
    reference = bs.run(study, tmp_path / "reference", executor="inline")
    others = sum(row.batch_size != 11 for row in reference.rows)
    setting(FAKE_TROUBLE=f"wait:11:{tmp_path / 'go'}")

    def let_go(status: Status) -> None:
        if status.trials_done == others:
            (tmp_path / "go").touch()

    assert same_rows(bs.run(study, tmp_path / "out", executor=executor, workers=2, progress=let_go), reference)
    straggler = next(process for process, size in log() if size == "11")
    assert straggler not in {process for process, size in log() if size != "11"}


@pytest.mark.parametrize(
    ("executor", "checkpoints"),
    [
        ("processes", None),
        pytest.param("ray", "driver", marks=ON_RAY.marks),
        pytest.param("ray", "directory", marks=SLOW_ON_RAY.marks),
    ],
    indirect=["executor"],
)
def test_the_state_of_a_cohort_reaches_the_worker_that_goes_on_with_it(
    tmp_path, fake, executor, checkpoints, setting, log
):
    study = make_study(depths=(1,), batch_sizes=(53,), step_sizes={"min": 0.02, "max": 0.02})
    setting(FAKE_TROUBLE=f"die-after-state:53:{tmp_path / 'out/checkpoints'}")
    results = bs.run(study, tmp_path / "out", executor=executor, workers=1, checkpoints=checkpoints)
    assert results.count(Outcome.CRASHED) == 0
    first, second, resumed = log()
    assert first != second
    assert resumed == ["resumed", "half-way"]
    assert not list((tmp_path / "out/checkpoints").iterdir())


@pytest.mark.parametrize("executor", ["inline", "processes", SLOW_ON_RAY], indirect=True)
def test_interrupted_and_killed_the_same_command_ends_with_the_rows_of_an_undisturbed_run(
    tmp_path, study_file, command, batchscope_command, executor, setting, whole
):
    """Ctrl-C first, then kill -9; in the last run a worker dies, of which only the rows could tell, and do not."""
    words = ("run", STUDY, "--executor", executor, "--workers", "1", "--out", "out")
    setting(FAKE_SECONDS="0.1")
    moments, kept = random.Random(0), [[]]
    for how in (signal.SIGINT, signal.SIGKILL):
        process = batchscope_command(*words)
        wait_for(lambda p=process: p.poll() is not None or trials_in(tmp_path / "out") > len(kept[-1]))
        time.sleep(0.2 * moments.random())
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        kept.append(exported(tmp_path / "out"))
        assert process.returncode == (130 if how == signal.SIGINT else -how)
        assert out == ""
        assert "Traceback" not in err
        assert ("the same command resumes" in err) == (how == signal.SIGINT)
    assert 0 < len(kept[1]) < len(kept[2]) < len(whole)
    trouble = {} if executor == "inline" else {"FAKE_TROUBLE": f"die-once:211:{tmp_path / 'died'}"}
    setting(**trouble)
    status, out, err = command(*words)
    assert (status, "raylet" in out + err, (tmp_path / "died").exists()) == (0, False, executor != "inline")
    assert exported(tmp_path / "out") == whole
    assert all(row in whole for row in kept[1] + kept[2])


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the workers")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=[*ON_RAY.marks, pytest.mark.slow])])
def test_nothing_outlives_its_run(tmp_path, study_file, batchscope_command, executor, how, monkeypatch):
    """On Ray: a cluster started for the run, all of it; its workers at once."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    tag, log = uuid.uuid4().hex, tmp_path / "log"
    words = ("run", STUDY, "--out", "out", "--workers", "2", "--executor", executor)
    process = batchscope_command(*words, FAKE_SECONDS="30", FAKE_LOG=str(log), TAG=tag)
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) == 2)  # both in the middle of a cohort
    assert len(processes_with(tag)) >= 3
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()}
    process.send_signal(how)
    process.communicate(timeout=60)
    wait_for(lambda: workers.isdisjoint(processes_with(tag)), seconds=20)
    # After kill -9 two agents of Ray's own, without work, take a minute to see that their cluster is gone.
    wait_for(lambda: not processes_with(tag), seconds=180 if executor == "ray" else 60)


@pytest.mark.parametrize("executor", POOLS)
def test_the_real_trainer_gives_the_same_numbers_to_the_last_bit(tmp_path, executor, monkeypatch):
    """In commands of their own, on Ray with a cluster of their own, of which standard output shows nothing, and which
    takes nothing from the current directory."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    study = make_study(protocol="tuned", depths=(1, 2), batch_sizes=(53, 211), max_epochs=7, diversity_every=3)
    inline = bs.run(study, tmp_path / "inline", executor="inline")
    (tmp_path / STUDY).write_text(study.to_toml())
    for name in ("operator", "types", "json", "random", "torch", "queue", "numbers"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__name__)")
    words = ["run", STUDY, "--out", "out", "--executor", executor, "--workers", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "batchscope", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(bs.__file__).parents[1])},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["trials"] == len(inline.rows)
    assert same_rows(bs.studies.read(tmp_path / "out"), inline)
    assert not (tmp_path / "executed").exists()
    finals = [row for row in inline.rows if row.phase == "final"]
    assert all(row.batch_size_bound is not None and row.batch_size_bound >= 1 for row in finals)


def study_of_a_file(path: Path) -> Study:
    import numpy as np

    rng = np.random.default_rng(0)
    np.savez(path, inputs=rng.normal(size=(701, 13)), targets=rng.normal(size=(701, 1)))
    return make_study(dataset=str(path), num_examples=None, dataset_options={}, depths=(1,), batch_sizes=(211,))


@pytest.mark.parametrize("executor", [ON_RAY], indirect=True)
def test_workers_need_no_data_files(tmp_path, executor, setting):
    study = study_of_a_file(tmp_path / "own.npz")
    load_data(DataRequest.of(study))  # kept in this process
    (tmp_path / "own.npz").unlink()
    results = bs.run(study, tmp_path / "out", executor=executor, workers=1)
    assert results.count(Outcome.CRASHED) == 0
    assert len(results.rows) >= 7


@pytest.mark.parametrize("executor", [ON_RAY], indirect=True)
def test_workers_with_other_versions_are_refused_and_both_are_named(tmp_path, executor, monkeypatch):
    real = importlib.metadata.version
    there = re.escape(real("torch"))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "torch" else real(name))
    with pytest.raises(InputError, match=rf"the worker on \S+ has torch {there}, but this process torch 9\.9; install"):
        bs.run(make_study(), tmp_path / "out", executor=executor, workers=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("executor", [ON_RAY], indirect=True)
def test_data_that_arrive_otherwise_than_they_were_sent_are_refused(tmp_path, executor, monkeypatch):
    monkeypatch.setattr(ray_executor, "data_checksum", lambda dataset: "0123456789abcdef")
    with pytest.raises(DataError, match=r"checksum [0-9a-f]{16}, but was sent with 0123456789abcdef"):
        bs.run(make_study(), tmp_path / "out", executor=executor, workers=1)


@pytest.mark.parametrize("executor", [ON_RAY], indirect=True)
def test_a_damaged_state_is_set_aside_by_name_and_its_cohort_starts_over(tmp_path, executor, setting, log, reference):
    """The driver keeps the states, so it is the one to look: the worker has a folder of its own."""
    study = make_study()
    cells_of = cells(study, facts(load_data(DataRequest.of(study)), study.seed))
    with Store(tmp_path / "out", (study,)) as store:
        paths = [store.checkpoint(next_cohorts(study, cell, {})[0]) for cell in cells_of[:2]]
    paths[0].parent.mkdir()
    for path, content in zip(paths, (b"", b"PK\x03\x04 cut short"), strict=True):
        path.write_bytes(content)
    setting()
    with pytest.warns(UserWarning, match=r"is damaged \(not the whole of what was written\); kept as"):
        results = bs.run(study, tmp_path / "out", executor=executor, workers=1)
    assert same_rows(results, reference)
    kept = {path.name: path.read_bytes() for path in paths[0].parent.iterdir()}
    assert kept == {f"{paths[0].name}{DAMAGED}": b"", f"{paths[1].name}{DAMAGED}": b"PK\x03\x04 cut short"}
