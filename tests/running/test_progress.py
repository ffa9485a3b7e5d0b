"""The time left: predicted costs, by what each cohort is expected to need, against what cohorts really took."""

from __future__ import annotations

import pytest

import batchscope as bs
from batchscope.records import Rows
from batchscope.running.progress import LEAST_SHARE, Tracker
from batchscope.studies.cost import cohort_cost
from batchscope.studies.plan import cells, final_trial, tuning_trial
from batchscope.studies.trial import Cohort
from tests.report import factory
from tests.studies.common import make_study


@pytest.fixture
def cohorts(data):
    """Reported runs of two cells."""
    study = make_study()
    planned = cells(study, data)[:2]
    return [Cohort(study.name, tuple(final_trial(study, cell, 0.1, k) for k in (1, 2, 3))) for cell in planned]


def tracker(cohorts):
    planned = {"tune": 0.0, "final": sum(map(cohort_cost, cohorts))}
    return Tracker(1, 6, planned, 0, None)


def test_a_cohort_that_needs_a_tenth_of_another_takes_a_tenth_of_its_time(cohorts):
    first, second = cohorts
    counted = tracker(cohorts)
    counted.expect(first, 0.05)
    counted.expect(second, 0.5)
    rate = 7.0  # as slow as that against the prediction
    status = counted.add(first, (), rate * 0.05 * cohort_cost(first), widened=False)
    assert status.seconds_left == pytest.approx(rate * 0.5 * cohort_cost(second))
    assert counted.add(second, (), 1.0, widened=False).seconds_left == pytest.approx(0)


def test_without_an_expectation_a_cohort_counts_all_its_epochs(cohorts):
    first, second = cohorts
    status = tracker(cohorts).add(first, (), 2 * cohort_cost(first), widened=False)
    assert status.seconds_left == pytest.approx(2 * cohort_cost(second))


def test_a_cohort_that_is_expected_to_need_nothing_still_gives_a_finite_time(cohorts):
    first, second = cohorts
    counted = tracker(cohorts)
    for one in cohorts:
        counted.expect(one, 0.0)
    status = counted.add(first, (), 3.0, widened=False)
    assert status.seconds_left == pytest.approx(3.0 * cohort_cost(second) / cohort_cost(first))
    assert LEAST_SHARE > 0


def ended(cohort, epochs, phase="tune"):
    """The rows of a cohort whose runs made so many epochs."""
    return [factory.row(phase=phase, outcome="censored", epochs_run=epochs) for _ in cohort.trials]


def test_tuning_that_a_race_ends_early_does_not_make_reported_runs_shorter(data):
    study = make_study(protocol="tuned", race=True)
    cell, *_ = cells(study, data)
    tuning, finals = (
        Cohort(study.name, tuple(made(study, cell, numbers) for numbers in (1, 2, 3)))
        for made in (tuning_trial, lambda study, cell, k: final_trial(study, cell, 0.1, k))
    )
    counted = Tracker(1, 6, {"tune": cohort_cost(tuning), "final": cohort_cost(finals)}, 0, None)
    rate, share = 7.0, 1 / study.max_epochs  # one epoch of tuning, and of every reported run
    status = counted.add(tuning, ended(tuning, 1.0), rate * share * cohort_cost(tuning), widened=False)
    assert status.counts_all_epochs
    assert status.seconds_left == pytest.approx(rate * cohort_cost(finals))
    counted.expect(finals, share)
    status = counted.status(finished_cohort=False)
    assert not status.counts_all_epochs
    assert status.seconds_left == pytest.approx(rate * share * cohort_cost(finals))


def test_what_nothing_is_known_of_is_taken_to_need_as_much_as_the_others(cohorts):
    first, second = cohorts
    counted = tracker(cohorts)
    counted.expect(first, 0.1)
    rate = 7.0
    status = counted.add(first, (), rate * 0.2 * cohort_cost(first), widened=False)  # twice of what was expected
    assert status.seconds_left == pytest.approx(2 * rate * 0.1 * cohort_cost(second))


def test_a_run_expects_of_reported_runs_what_their_tuning_foretold(tmp_path, fake, monkeypatch):
    expected = {}
    monkeypatch.setattr(
        Tracker, "expect", lambda self, cohort, share: expected.update({cohort.trials[0].id: (cohort.phase, share)})
    )
    study = make_study(protocol="tuned")
    rows = Rows.of(bs.run(study, tmp_path, executor="inline").rows)
    tuned = rows.where(phase="tune").group_by("depth", "batch_size")
    assert len(expected) == 6
    for row in rows.where(phase="final"):
        if row.trial_id in expected:
            times = [one.epochs_to_target for one in tuned[row.depth, row.batch_size] if one.epochs_to_target]
            assert not times or expected[row.trial_id] == ("final", min(times) / study.max_epochs)
    assert any(share < 1 for _, share in expected.values())
