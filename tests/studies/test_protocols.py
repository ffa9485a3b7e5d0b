"""How a cell is tuned and finished, on a trainer in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.running.trained import rows_of
from batchscope.studies import Study
from batchscope.studies.plan import cells, fewest_trials
from batchscope.studies.protocols import MAX_WIDENINGS, chosen_step_size, next_cohorts, tune
from batchscope.studies.trial import FINAL, TUNE, Cohort
from batchscope.training.settings import Member, MemberResult

from .common import make_study


def loss_least_at(best: float, largest: float = math.inf) -> Callable[[Member], MemberResult]:
    """Runs whose loss is least at one step size, that reach the target soonest there and diverge above another."""

    def train(member: Member) -> MemberResult:
        away = abs(math.log2(member.step_size / best))
        if member.step_size > largest:
            return MemberResult(member, Outcome.DIVERGED, None, None, (Evaluation(1.0, 7, math.inf),), "at step 3")
        epochs = 2.0 + round(away)
        return MemberResult(member, Outcome.REACHED, epochs, 7, (Evaluation(epochs, 7, 0.01 + away),))

    return train


def play(
    study: Study,
    data: Any,
    train: Callable[[Member], MemberResult],
    after: Callable[[Cohort, list[MemberResult]], list[MemberResult]] = lambda cohort, results: results,
) -> tuple[list[Cohort], dict[str, Row]]:
    """Follow the protocol of the first cell to its end."""
    cell = cells(study, data)[0]
    done: dict[str, Row] = {}
    cohorts: list[Cohort] = []
    while todo := next_cohorts(study, cell, done):
        assert len(cohorts) < 20, "the protocol does not end"
        for cohort in todo:
            cohorts.append(cohort)
            assert not {trial.id for trial in cohort.trials} & done.keys(), "a trial was asked for twice"
            results = after(cohort, [train(member) for member in cohort.members])
            done |= {row.trial_id: row for row in rows_of(study, cohort, results, 1.0, "cpu")}
    return cohorts, done


def steps(cohort: Cohort) -> list[float]:
    return [trial.step_size for trial in cohort.trials]


@pytest.mark.parametrize("protocol", ["paper2018", "tuned"])
def test_grid_then_seeds_at_the_best_step_size(data, protocol):
    study = make_study(protocol=protocol)
    (grid, seeds), _ = play(study, data, loss_least_at(0.04))
    assert (steps(grid), {trial.seed for trial in grid.trials}, grid.phase) == ([0.02, 0.04, 0.08, 0.16], {0}, TUNE)
    assert (steps(seeds), [trial.seed for trial in seeds.trials], seeds.phase) == ([0.04] * 3, [1, 2, 3], FINAL)


def test_the_studys_seed_shifts_all_seeds(data):
    (grid, seeds), _ = play(make_study(seed=40), data, loss_least_at(0.04))
    assert {trial.seed for trial in grid.trials} == {40}
    assert [trial.seed for trial in seeds.trials] == [41, 42, 43]


@pytest.mark.parametrize(
    ("best", "widenings"),
    [(0.32, [[0.32, 0.64]]), (0.64, [[0.32, 0.64], [1.28, 2.56]]), (0.01, [[0.005, 0.01]])],
)
def test_a_best_value_at_the_edge_widens_the_grid(study, data, best, widenings):
    cohorts, done = play(study, data, loss_least_at(best))
    assert [steps(cohort) for cohort in cohorts[1:-1]] == widenings
    assert steps(cohorts[-1]) == [best] * 3
    beyond = [row for row in done.values() if "widened" in row.message]
    assert sorted(row.step_size for row in beyond) == sorted(step for pair in widenings for step in pair)


def test_widening_ends_at_the_limit_with_the_best_so_far(study, data):
    cohorts, done = play(study, data, loss_least_at(1e9))
    assert len(cohorts) == 1 + MAX_WIDENINGS + 1
    assert steps(cohorts[-1]) == [0.16 * 2 ** (2 * MAX_WIDENINGS)] * 3
    tuning = tune(study, cells(study, data)[0], done)
    assert tuning.at_edge
    assert tuning.widenings == MAX_WIDENINGS


def test_when_all_diverge_smaller_values_are_tried(study, data):
    cohorts, _ = play(study, data, loss_least_at(0.01, largest=0.015))
    assert [steps(cohort) for cohort in cohorts[1:-1]] == [[0.005, 0.01]]
    assert steps(cohorts[-1]) == [0.01] * 3


def test_when_everything_diverges_the_reported_runs_say_so(study, data):
    cohorts, done = play(study, data, loss_least_at(1.0, largest=0.0))
    assert len(cohorts) == 1 + MAX_WIDENINGS + 1
    assert steps(cohorts[-1]) == [0.02 / 2 ** (2 * MAX_WIDENINGS)] * 3
    assert {row.outcome for row in done.values()} == {Outcome.DIVERGED}
    assert {row.train_loss for row in done.values()} == {None}


def test_a_single_step_size_is_neither_tuned_nor_widened(data):
    study = make_study(step_sizes={"min": 0.3, "max": 0.3})
    (seeds,), _ = play(study, data, loss_least_at(9.0))
    assert steps(seeds) == [0.3] * 3


def test_paper2018_takes_the_lowest_loss_and_tuned_the_fewest_epochs(data):
    def train(member: Member) -> MemberResult:
        loss, epochs = {0.02: (9, None), 0.04: (5, 3), 0.08: (3, 7), 0.16: (4, 3)}.get(member.step_size, (10, None))
        outcome = Outcome.CENSORED if epochs is None else Outcome.REACHED
        return MemberResult(member, outcome, epochs, epochs, (Evaluation(7.0, 7, float(loss)),))

    assert steps(play(make_study(protocol="paper2018"), data, train)[0][-1]) == [0.08] * 3
    # 0.04 and 0.16 take as many epochs: the lower loss decides, and it lies at the edge.
    cohorts, _ = play(make_study(protocol="tuned"), data, train)
    assert [steps(cohort) for cohort in cohorts[1:]] == [[0.32, 0.64], [0.16] * 3]


def test_tuned_falls_back_on_the_loss_where_none_reached_and_prefers_smaller_steps_on_ties(data):
    def train(member: Member) -> MemberResult:
        loss = {0.04: 1.0, 0.08: 1.0}.get(member.step_size, 2.0)
        return MemberResult(member, Outcome.CENSORED, None, None, (Evaluation(7.0, 7, loss),))

    assert steps(play(make_study(protocol="tuned"), data, train)[0][-1]) == [0.04] * 3


def race_over(cohort: Cohort, results: list[MemberResult]) -> list[MemberResult]:
    """What becomes of a cohort's results in a race: those behind the first are censored where it arrived."""
    first = min((one.epochs_to_target for one in results if one.epochs_to_target is not None), default=None)
    if not cohort.settings.race or first is None:
        return results
    return [
        replace(one, outcome=Outcome.CENSORED, epochs_to_target=None, steps_to_target=None)
        if one.outcome is Outcome.REACHED and one.epochs_to_target > first
        else one
        for one in results
    ]


@pytest.mark.parametrize("best", [2.0**-k for k in range(-2, 14)])
@pytest.mark.parametrize("largest", [math.inf, 0.05])
def test_a_race_chooses_the_same_step_sizes_and_reports_the_same_runs(data, best, largest):
    whole, raced = make_study(protocol="tuned"), make_study(protocol="tuned", race=True)
    train = loss_least_at(best, largest)
    one, _ = play(whole, data, train)
    other, rows = play(raced, data, train, race_over)
    assert list(map(steps, one)) == list(map(steps, other))
    assert one[-1].id == other[-1].id, "the reported runs are the same trials"
    assert {cohort.settings.race for cohort in other[:-1]} == {raced.step_sizes.values}
    assert not other[-1].settings.race
    assert not {trial.id for cohort in one[:-1] for trial in cohort.trials} & rows.keys()


@pytest.mark.parametrize("race", [True, False])
def test_rivals_are_part_of_a_race_and_of_nothing_else(data, race):
    study = make_study(protocol="tuned", race=race)
    values = study.step_sizes.model_dump()
    other = make_study(protocol="tuned", race=race, step_sizes=values | {"max": 2 * study.step_sizes.max})
    ids = [{trial.id for trial in next_cohorts(one, cells(one, data)[0], {})[0].trials} for one in (study, other)]
    assert ids[0].isdisjoint(ids[1]) if race else ids[0] < ids[1]


def test_cohorts_of_two_studies_are_not_taken_for_one(study, data):
    (mine,) = next_cohorts(study, cells(study, data)[0], {})
    assert replace(mine, study="another").id != mine.id


def test_a_crashed_tuning_run_ends_the_cell_without_a_choice(study, data):
    cell = cells(study, data)[0]
    (grid,) = next_cohorts(study, cell, {})
    rows = rows_of(study, grid, None, 1.0, "cpu", "the loss turned purple")
    done = {row.trial_id: row for row in rows}
    assert {row.message for row in rows} == {"the loss turned purple"}
    assert next_cohorts(study, cell, done) == ()
    assert tune(study, cell, done) is None


def test_more_seeds_ask_only_for_the_missing_ones(data):
    _, done = play(make_study(num_seeds=2), data, loss_least_at(0.04))
    study = make_study(num_seeds=5)
    (cohort,) = next_cohorts(study, cells(study, data)[0], done)
    assert [trial.seed for trial in cohort.trials] == [3, 4, 5]


def test_the_choice_survives_any_interruption(study, data):
    """After each cohort the protocol is asked anew with rows in another order: the same cohorts follow."""
    cohorts, done = play(study, data, loss_least_at(0.64))
    cell = cells(study, data)[0]
    for number in range(len(cohorts)):
        known = [trial.id for cohort in cohorts[:number] for trial in cohort.trials]
        rows = {trial_id: done[trial_id] for trial_id in reversed(known)}
        assert next_cohorts(study, cell, rows) == (cohorts[number],)
    assert chosen_step_size(study, tune(study, cell, done)) == 0.64


def test_fixed_takes_one_step_size_for_the_sum_and_tunes_nothing(data):
    study = make_study(protocol="fixed", sum_step_size=0.0003, step_sizes=None)
    cohorts, done = play(study, data, loss_least_at(0.04))
    assert [(cohort.phase, steps(cohort)) for cohort in cohorts] == [(FINAL, [0.0033] * 3)]
    assert {row.protocol for row in done.values()} == {"fixed"}
    assert fewest_trials(study, TUNE) == 0
    assert Study.from_toml(study.to_toml()) == study
