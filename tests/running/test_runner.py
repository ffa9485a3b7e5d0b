"""`run`: finishes, resumes, survives whatever happens to a cohort, and gives the same rows whoever trains them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import batchscope as bs
from batchscope.errors import DataError, InputError, StoreError
from batchscope.records.row import Outcome
from batchscope.running.store import Store
from tests.running.common import numbers, same_rows
from tests.studies.common import make_study


def test_a_study_is_finished_and_a_second_run_trains_nothing(tmp_path, study, fake):
    results = bs.run(study, tmp_path, executor="inline")
    assert Counter(row.phase for row in results.rows if "widened" not in row.message) == {"tune": 24, "final": 18}
    assert len(results.table()) == 6
    assert all(cell.reached == 3 or cell.censored for cell in results.table())
    calls = len(fake.calls)
    assert same_rows(bs.run(study, tmp_path, executor="inline"), results)
    assert len(fake.calls) == calls
    assert same_rows(bs.studies.read(tmp_path), results)


def test_every_call_of_run_is_on_record(tmp_path, study, fake):
    bs.run(study, tmp_path, executor="inline")
    first, second = bs.run(study, tmp_path, executor="inline", workers=7).runs
    assert first["started"] <= second["started"]
    assert (first["executor"], first["workers"], first["device"], first["shard"]) == ("inline", 1, "cpu", "1of1")
    assert first["versions"].startswith(f"batchscope {bs.__version__}, torch ")
    assert first["command"][0] == "batchscope"
    assert "cores" in first["machine"]


def test_a_grown_study_trains_only_what_is_new(tmp_path, study, fake):
    before = bs.run(study, tmp_path, executor="inline")
    fake.calls.clear()
    after = bs.run(make_study(batch_sizes=(11, 53, 211, 307)), tmp_path, executor="inline")
    assert {batch_size for _, batch_size, _ in fake.calls} == {307}
    kept = {row.trial_id for row in before.rows}
    assert [numbers(row) for row in after.rows if row.trial_id in kept] == [numbers(row) for row in before.rows]


def test_progress_counts_every_trial_and_ends_at_the_total(tmp_path, study, fake):
    seen = []
    results = bs.run(study, tmp_path, executor="inline", progress=seen.append)
    ends = [status.trials_done for status in seen if status.finished_cohort]
    assert ends == sorted(ends)
    assert seen[0].trials_done == 0
    assert seen[0].trials_total == 42
    assert seen[-1].trials_done == seen[-1].trials_total == len(results.rows)
    assert seen[-1].seconds_left == pytest.approx(0)
    finals = {row.trial_id for row in results.rows if row.phase == "final"}
    tuned = len(results.rows) - len(finals)  # tuning comes first; reported runs may take all their epochs, or end soon
    ended = [status for status in seen if status.finished_cohort]
    assert ended[0].counts_all_epochs
    assert ended == sorted(ended, key=lambda status: not status.counts_all_epochs)  # once it is known, it stays so
    assert {status.counts_all_epochs for status in ended if status.trials_done > tuned} == {False}
    fewest = min(row.epochs_to_target for row in results.rows if row.phase == "final" and row.epochs_to_target)
    assert seen[-1].best.epochs_to_target == fewest
    resumed = []
    bs.run(study, tmp_path, executor="inline", progress=resumed.append)
    assert resumed[0].trials_done == resumed[0].trials_total == len(results.rows)


@pytest.mark.system
def test_worker_processes_import_a_family_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "ownfamily.py").write_text(
        "from torch import nn\nfrom batchscope.architectures import Family\n\n\n"
        "class Bent(Family):\n    def module(self, net):\n"
        "        return nn.Sequential(nn.Linear(net.d_in, net.width), nn.SiLU(), nn.Linear(net.width, net.d_out))\n"
    )
    monkeypatch.chdir(tmp_path)
    # One seed: several are run in the way that a timing chooses, and the ways differ in rounding.
    one = {"batch_sizes": (211,), "step_sizes": {"min": 0.1, "max": 0.1}, "num_seeds": 1, "max_epochs": 2}
    study = make_study(family="ownfamily:Bent", protocol="tuned", depths=(1, 2), **one)
    results = bs.run(study, "run", workers=2)
    assert {row.family for row in results.rows} == {"ownfamily:Bent"}
    assert {row.outcome for row in results.rows} <= {Outcome.REACHED, Outcome.CENSORED, Outcome.DIVERGED}
    assert same_rows(bs.run(study, "inline", executor="inline"), results)


def test_shards_share_a_directory_and_sum_to_the_whole(tmp_path, study, fake):
    whole = bs.run(study, tmp_path / "whole", executor="inline")
    first = bs.run(study, tmp_path / "shards", executor="inline", shard="1/2")
    fake.calls.clear()
    assert len(first.table()) == 3
    assert same_rows(bs.run(study, tmp_path / "shards", executor="inline", shard="2/2"), whole)
    assert len({call[:2] for call in fake.calls}) == 3


def test_several_studies_in_one_directory_keep_apart(tmp_path, study, fake):
    other = make_study(name="other", num_seeds=2)
    results = bs.run([study, other], tmp_path, executor="inline")
    assert {cell.study for cell in results.table()} == {"small", "other"}
    assert {cell.reached + cell.censored for cell in results.of("other").table()} == {2}
    with pytest.raises(InputError, match="results of 2 studies"):
        _ = results.study


def test_data_that_changed_between_runs_is_refused(tmp_path, fake):
    study = make_study(dataset=str(tmp_path / "own.npz"), num_examples=None, dataset_options={})
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(701, 13)), rng.normal(size=(701, 1))
    np.savez(tmp_path / "own.npz", inputs=inputs, targets=targets)
    bs.run(study, tmp_path / "out", executor="inline")
    np.savez(tmp_path / "own.npz", inputs=inputs + 1e-3, targets=targets)
    clear_cache()
    with pytest.raises(StoreError, match=r"another version of .*own\.npz"):
        bs.run(study, tmp_path / "out", executor="inline")


def test_what_cannot_run_is_refused_before_anything_is_written(tmp_path, study):
    out = tmp_path / "out"
    np.savez(tmp_path / "nan.npz", inputs=np.full((7, 3), np.nan), targets=np.zeros(7))
    for change, error in [
        ({"dataset": "synthetik"}, InputError),
        ({"dataset": str(tmp_path / "nan.npz"), "num_examples": None, "dataset_options": {}}, DataError),
        ({"batch_sizes": (1000,)}, InputError),
        ({"budget": 3}, InputError),
        ({"dataset_options": {"d_inn": 3}}, InputError),
    ]:
        with pytest.raises(error):
            bs.run(make_study(**change), out, executor="inline")
    for options in ({"executor": "inlin"}, {"device": "gpu"}, {"workers": 0}, {"shard": "3/2"}):
        with pytest.raises(InputError):
            bs.run(study, out, **options)
    with pytest.raises(InputError, match="no study was given"):
        bs.run([], out)
    assert not out.exists()


def test_a_run_does_not_disturb_one_that_holds_the_directory(tmp_path, study, fake):
    with Store(tmp_path, (study,)), pytest.raises(StoreError, match="another run is writing"):
        bs.run(study, tmp_path, executor="inline")
    assert fake.calls == []


def clear_cache() -> None:
    from batchscope.studies.dataset import load_data

    load_data.cache_clear()
