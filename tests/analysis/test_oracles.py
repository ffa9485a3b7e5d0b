"""The oracles themselves, against slower computations of the same thing."""

import json
import math

import numpy as np
import pytest

from batchscope.analysis.known_answers.oracles import NoisyQuadratic, QuadraticStudy
from batchscope.cli.main import main
from batchscope.records.row import Outcome

MODEL = NoisyQuadratic.of_size(7)


@pytest.mark.parametrize("step_size", [0.1, 0.9, 1.0, 1.7])
def test_closed_form_is_the_recursion(step_size):
    h, s = MODEL.curvatures, np.ones(7)
    for step in range(1, 30):
        s = (1 - step_size * h) ** 2 * s + step_size**2 * h / 3
        np.testing.assert_allclose(MODEL.second_moments(step, 3, step_size), s, rtol=1e-12)
        assert MODEL.expected_loss(step, 3, step_size) == pytest.approx(0.5 * (h * s).sum())
    np.testing.assert_array_equal(MODEL.second_moments(0, 3, step_size), np.ones(7))


def test_closed_form_is_the_mean_of_simulated_runs():
    rng = np.random.default_rng(0)
    h, draws, batch_size, step_size = MODEL.curvatures, 20_000, 5, 0.5
    x = rng.choice([-1.0, 1.0], size=(draws, 7))
    for _ in range(12):
        x -= step_size * (h * x + np.sqrt(h / batch_size) * rng.standard_normal(x.shape))
    losses = 0.5 * (h * x * x).sum(axis=1)
    error = losses.std() / math.sqrt(draws)
    assert losses.mean() == pytest.approx(float(MODEL.expected_loss(12, batch_size, step_size)), abs=4 * error)


def test_steps_to_target_are_the_first_by_brute_force():
    for batch_size in (1, 8, 1000):
        for step_size in (0.003, 0.1, 0.7, 1.9):
            losses = MODEL.expected_loss(np.arange(6000), batch_size, step_size)
            met = np.flatnonzero(losses <= MODEL.target)
            expected = float(met[0]) if len(met) else math.inf
            assert MODEL.steps_to_target(batch_size, step_size) == expected
            if math.isinf(expected):
                assert MODEL.steady_loss(batch_size, step_size) >= MODEL.target


def test_unstable_step_sizes_never_arrive():
    assert MODEL.largest_stable_step == 2.0
    assert MODEL.steps_to_target(10_000, 2.0) == math.inf
    assert MODEL.steady_loss(10_000, 2.5) == math.inf


def test_the_bound_is_one_plus_noise_scale():
    s = MODEL.second_moments(4, 8, 0.5)
    trace, sq_norm = MODEL.curvatures.sum(), (MODEL.curvatures**2 * s).sum()
    assert MODEL.batch_size_bound(4, 8, 0.5) == pytest.approx(1 + trace / sq_norm)


def test_rows_of_the_study_are_those_of_the_closed_form():
    study = QuadraticStudy(MODEL, [4, 32, 256], [0.05, 0.4, 3.0], num_examples=512, spread=0.0, num_seeds=2)
    rows = study.rows(history=True)
    assert len(rows) == 3 * (3 + 2)
    for row in rows:
        exact = MODEL.steps_to_target(row.batch_size, row.step_size)
        if row.step_size == 3.0:
            assert row.outcome is Outcome.DIVERGED
        elif row.outcome is Outcome.REACHED:
            per_check = math.ceil(512 / row.batch_size) / 4
            assert exact <= row.steps_to_target < exact + per_check + 1
        else:
            assert row.steps_run < exact
        if row.history:
            losses = [check.train_loss for check in row.history]
            assert all(loss > MODEL.target for loss in losses[:-1])
            assert (losses[-1] <= MODEL.target) == (row.outcome is Outcome.REACHED)


def test_every_known_answer_is_found_and_printed(capsys):
    assert main(["selftest", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["passed"] is True
    assert len(printed["checks"]) >= 13
    assert [check["name"] for check in printed["checks"] if not check["passed"]] == []
    assert {"name", "source", "expected", "got", "passed"} == printed["checks"][0].keys()


def test_the_command_fails_when_an_answer_is_wrong(capsys, monkeypatch):
    from batchscope.analysis.known_answers import selftest as module

    monkeypatch.setitem(module.MLPERF_RESNET50, 65536, 60.0)
    monkeypatch.setattr(module, "CHECKS", (module.published_points,))
    assert main(["selftest"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert "checks agree" in printed
