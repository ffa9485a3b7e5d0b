"""In which order cohorts are begun: tuning first, then the reported runs that are expected to be the longest."""

from __future__ import annotations

import math
from typing import Any

import pytest

from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.running.trained import rows_of
from batchscope.studies import Study
from batchscope.studies.cost import cohort_cost, expected_share, turn
from batchscope.studies.plan import PlannedCell, cells
from batchscope.studies.protocols import next_cohorts
from batchscope.studies.trial import FINAL
from batchscope.training.settings import Member, MemberResult

from .common import make_study


def tuned(study: Study, cell: PlannedCell, loss: float, epochs: float | None) -> dict[str, Row]:
    """The tuning rows of a cell: one step size inside the grid ends with this loss, after so many epochs."""

    def train(member: Member) -> MemberResult:
        if member.step_size == 0.04:
            outcome = Outcome.CENSORED if epochs is None else Outcome.REACHED
            return MemberResult(member, outcome, epochs, epochs and 7, (Evaluation(2.0, 7, loss),))
        return MemberResult(member, Outcome.CENSORED, None, None, (Evaluation(2.0, 7, loss + 1),))

    (grid,) = next_cohorts(study, cell, {})
    return {row.trial_id: row for row in rows_of(study, grid, [train(m) for m in grid.members], 1.0, "cpu")}


def test_tuning_comes_before_reported_runs_and_longer_cohorts_before_shorter(study, data):
    first, *others = cells(study, data)
    done = tuned(study, first, 0.1, None)
    (final,) = next_cohorts(study, first, done)
    grids = [(cell, *next_cohorts(study, cell, done)) for cell in others]
    waiting = sorted([(first, final), *grids], key=lambda one: turn(study, one[0], one[1], done))
    assert waiting[-1][1] is final
    costs = [cohort_cost(grid) for _, grid in waiting[:-1]]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("protocol", ["paper2018", "tuned"])
def test_of_reported_runs_those_whose_tuning_ended_worse_begin_first(data, protocol):
    study = make_study(protocol=protocol)
    cell = cells(study, data)[0]

    def begins(loss: float, epochs: float | None) -> tuple[bool, float]:
        done = tuned(study, cell, loss, epochs)
        (final,) = next_cohorts(study, cell, done)
        assert final.phase == FINAL
        return turn(study, cell, final, done)

    assert begins(2.0, None) < begins(0.5, None) < begins(0.01, None)
    assert begins(0.04, 30.0) < begins(0.04, 2.0)


@pytest.mark.parametrize(
    ("loss", "epochs", "share"),
    [(0.5, None, 1 - math.exp(-0.5)), (0.04, 2.0, 2 / 31), (1e-14, None, 1e-14), (-3.0, None, 0.0)],
)
def test_the_share_of_all_epochs_that_is_expected(study, data, loss, epochs, share):
    cell = cells(study, data)[0]
    assert expected_share(study, cell, tuned(study, cell, loss, epochs)) == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("changes", [{}, {"step_sizes": {"min": 0.3, "max": 0.3}}], ids=["not yet tuned", "no tuning"])
def test_without_tuning_all_epochs_are_expected(data, changes: dict[str, Any]):
    study = make_study(**changes)
    assert expected_share(study, cells(study, data)[0], {}) == 1.0
