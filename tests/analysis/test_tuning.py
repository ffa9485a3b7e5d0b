"""The guard on tuning and the sensitivity to target and definition."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from batchscope.analysis import batch_threshold
from batchscope.analysis.digest import digest
from batchscope.analysis.known_answers.oracles import NoisyQuadratic, QuadraticStudy
from batchscope.analysis.sensitivity import by_definition, by_target
from batchscope.analysis.tuning import compare_protocols, guard, step_size_trends
from batchscope.errors import InputError
from batchscope.records.row import OUTRUN, Outcome
from batchscope.report.charts import charts

GRID = [0.01, 0.02, 0.04, 0.08]


def tuned(rows, chosen):
    """Batch size -> (chosen step size, epochs of its seeds), with a tune run for every step size."""
    result = []
    for batch_size, (step_size, epochs) in chosen.items():
        for value in GRID:
            outcome = "diverged" if value == GRID[-1] else 2.0
            result += rows({batch_size: [outcome]}, phase="tune", step_size=value)
        result += rows({batch_size: epochs}, step_size=step_size)
    return result


def test_edges_losses_and_divergence_are_counted(rows):
    guarded = guard(
        tuned(rows, {32: (0.01, [5.0, 5.0]), 64: (0.04, [5.0, None]), 128: (0.08, ["diverged", "crashed", 5.0])})
    )
    assert [(cell.batch_size, cell.edge, cell.num_final, cell.num_lost) for cell in guarded.cells] == [
        (32, "low", 2, 0),
        (64, "", 2, 1),
        (128, "high", 2, 1),
    ]
    assert all((cell.num_diverged, cell.num_step_sizes) == (1, 4) for cell in guarded.cells)
    assert guarded.statement == (
        "2 of 3 chosen step sizes lie at the edge of their grid; 2 of 6 final runs never met the target with the step "
        "size chosen after two epochs, at 2 of 3 shapes and batch sizes"
    )
    json.dumps(guarded.as_dict(), allow_nan=False)


def test_runs_that_a_race_ended_might_have_diverged_later(rows):
    runs = tuned(rows, {32: (0.02, [5.0])})
    runs = [replace(run, outcome=Outcome.CENSORED, message=OUTRUN) if run.step_size == GRID[0] else run for run in runs]
    (cell,) = guard(runs).cells
    assert (cell.num_diverged, cell.num_outrun) == (1, 1)
    table = charts(digest(runs))["step_sizes"].table
    (line,) = table.lines
    assert line[table.heads.index("diverged while tuning")] == ">= 1"
    assert "a race ended the tuning of other step sizes" in table.caption
    whole = charts(digest(tuned(rows, {32: (0.02, [5.0])})))["step_sizes"].table
    assert whole.lines[0][table.heads.index("diverged while tuning")] == "1"
    assert "race" not in whole.caption


def test_without_tune_rows_nothing_is_said_of_the_grid(rows):
    (cell,) = guard(rows({32: [5.0]})).cells
    assert (cell.edge, cell.num_step_sizes) == ("", 0)
    assert guard([]).cells == ()
    assert guard([]).statement.startswith("0 of 0")


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_the_scaling_rule_of_the_step_size_is_found(rows, slope):
    some = [row for B in (32, 64, 128, 256) for row in rows({B: [5.0]}, step_size=0.01 * B**slope)]
    (trend,) = step_size_trends(guard(some))
    assert trend.slope == pytest.approx(slope)
    assert trend.interval[0] == pytest.approx(slope, abs=1e-6)
    assert math.isnan(step_size_trends(guard(some[:1]))[0].slope)


def test_what_the_paper_s_tuning_did_to_the_threshold(rows):
    good = {32: [5.0] * 3, 64: [5.0] * 3, 128: [5.5] * 3, 256: [5.5] * 3, 512: [50.0] * 3}
    hasty = {**good, 128: [None] * 3, 256: ["diverged", None, 30.0]}
    effect = compare_protocols(rows(hasty), rows(good, protocol="tuned"), "within_epochs(20)")["net"]
    assert effect.paper.value == 64
    assert 256 < effect.tuned.value < 512
    assert effect.ratio == pytest.approx(64 / effect.tuned.value)
    assert effect.interval[0] <= effect.ratio <= effect.interval[1]
    assert 0.5 < effect.probability <= 0.95  # three runs a side support no more
    assert (effect.num_lost, effect.num_lost_to_choice) == (5, 5)
    assert compare_protocols(rows(hasty), []) == {}
    json.dumps(effect.as_dict(), allow_nan=False)


def test_how_often_diversity_was_measured_may_differ_unless_it_is_what_is_asked_for(rows):
    times = {32: [5.0, 5.1], 64: [6.0, 6.1], 128: [9.0, 9.2]}
    one, other = rows(times, diversity_every=5), rows(times, protocol="tuned")
    assert compare_protocols(one, other)["net"].tuned.value == batch_threshold(other, "b_crit", "net").value
    with pytest.raises(InputError, match="diversity_every = 0, 5"):
        compare_protocols(one, other, "mean_diversity")


def test_losses_are_blamed_on_the_choice_only_where_tuned_runs_arrived(rows):
    lost = {32: [5.0], 64: [None]}
    effect = compare_protocols(rows(lost), rows(lost, protocol="tuned"))["net"]
    assert (effect.num_lost, effect.num_lost_to_choice) == (1, 0)


def test_an_easier_target_gives_the_threshold_of_a_study_run_for_it():
    def study(target):
        sizes, grid = [2**k for k in range(3, 12)], [2.0**k for k in range(-7, 1)]
        model = NoisyQuadratic.of_size(100, target=target)
        return QuadraticStudy(model, sizes, grid, num_examples=16384, spread=0.03)

    hard = study(0.01).rows(history=True)
    answers = by_target(hard, [0.01, 0.02], "within_epochs(3)")["quadratic"]
    assert answers[0.01] == batch_threshold(hard, "within_epochs(3)", "quadratic")
    # the same runs had they stopped at 0.02: recomputed by hand, one run at a time
    stopped = []
    for row in hard:
        met = [check for check in row.history if check.train_loss <= 0.02]
        if row.phase == "final" and met:
            first = met[0]
            history = tuple(check for check in row.history if check.step <= first.step)
            stopped.append(replace(row, epochs_to_target=first.epoch, steps_to_target=first.step, history=history))
    expected = batch_threshold(stopped, "within_epochs(3)", "quadratic")
    assert answers[0.02].value == expected.value
    assert answers[0.02].value > answers[0.01].value


def test_at_the_target_itself_thresholds_are_those_of_the_study_of_several_shapes():
    sizes, grid = [2**k for k in range(3, 12)], [2.0**k for k in range(-7, 1)]
    model = NoisyQuadratic.of_size(100, target=0.01)
    rows = QuadraticStudy(model, sizes, grid, num_examples=16384, spread=0.2).rows(history=True)
    rows = rows + [replace(row, shape="noisier", depth=2, seed=row.seed + 10) for row in rows if row.batch_size != 64]
    answers = by_target(rows, [0.01], "within_epochs(3)")
    assert {shape: levels[0.01] for shape, levels in answers.items()} == batch_threshold(rows, "within_epochs(3)")


def test_default_levels_are_easier_and_harder_ones_are_refused(rows, history):
    curve = [0.5, 0.7, 0.85, 0.95, 0.97]
    some = [history(row, curve) for row in rows({32: [5.0, 5.0], 64: [5.0, 5.0]})]
    levels = by_target(some)["net"]
    np.testing.assert_allclose(list(levels), [0.96, 0.95, 0.94, 0.92, 0.88])
    with pytest.raises(InputError, match="is harder than the target"):
        by_target(some, [0.99])
    assert by_target(rows({32: [5.0]})) == {}


def test_definitions_disagree_side_by_side(rows):
    table = {2**k: [5 * (1 + 2**k / 400)] * 3 for k in range(5, 13)}
    fine = {"evaluations_per_epoch": 1000, "num_examples": 2**20}
    answers = by_definition(rows(table, **fine), ("paper2018", "overhead_20", "b_crit"))["net"]
    assert answers["paper2018"].value == 64
    assert answers["overhead_20"].value == pytest.approx(118, rel=0.02)
    assert answers["b_crit"].value == pytest.approx(400, rel=0.02)
