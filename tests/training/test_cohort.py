"""A cohort against the loop a user would write: nn.Sequential, autograd, torch.optim, one model at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from batchscope.architectures import build
from batchscope.errors import InputError
from batchscope.records.row import OUTRUN, Outcome, Target
from batchscope.training import Member, train_cohort
from batchscope.training.cohort import RunningCohort
from tests.training.networks import SETTINGS
from tests.training.small_cohorts import (
    GRID,
    SEEDS,
    architecture,
    assert_same,
    classes,
    plain_loop,
    regression,
    run,
)


@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
@pytest.mark.parametrize("optimizer", [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0)], ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("data", [classes, regression])
def test_members_equal_the_plain_loop(members, optimizer, data):
    dataset, settings = data(), replace(SETTINGS, optimizer=optimizer[0], momentum=optimizer[1])
    cohort = run(dataset, architecture(dataset), settings, members)
    for index, member in enumerate(members):
        assert_same(cohort.engine.stack.member(index), plain_loop(dataset, architecture(dataset), settings, member))


@pytest.mark.parametrize("activation", ["relu", "tanh", "softsign", "arctan", "linear"])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
def test_every_activation_and_depth_equals_the_plain_loop(activation, depth, bias, members):
    dataset, settings = classes(), replace(SETTINGS, sampling="with_replacement")
    shape = architecture(dataset, depth, activation, bias)
    cohort = run(dataset, shape, settings, members)
    assert_same(cohort.engine.stack.member(1), plain_loop(dataset, shape, settings, members[1]))


@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
def test_passes_of_one_epoch_follow_each_other_without_a_border(members):
    dataset, settings = classes(), replace(SETTINGS, passes_per_epoch=3)
    shape = architecture(dataset)
    cohort = run(dataset, shape, settings, members)
    assert_same(cohort.engine.stack.member(1), plain_loop(dataset, shape, settings, members[1]))
    last = cohort.histories[1][-1]
    assert last.step == settings.max_epochs * math.ceil(3 * dataset.num_examples / settings.batch_size)
    assert last.epoch == settings.max_epochs


@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
def test_a_member_equals_its_solo_run_after_fifty_steps(members):
    dataset, settings = classes(), replace(SETTINGS, max_epochs=7)  # 8 steps per epoch, the last of 6 examples
    together = run(dataset, architecture(dataset), settings, members)
    for index, member in enumerate(members):
        alone = run(dataset, architecture(dataset), settings, [member])
        assert_same(together.engine.stack.member(index), alone.engine.stack.member(0))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_members_that_leave_do_not_disturb_the_rest(momentum, optimizer):
    dataset, target = classes(), Target("train_loss", 1.2)
    settings = replace(SETTINGS, target=target, max_epochs=60, momentum=momentum, optimizer=optimizer)
    rates = (0.003, 0.01, 0.05) if optimizer == "adam" else (0.02, 0.1, 0.3)
    members = [Member(rate, seed) for rate, seed in zip(rates, (1, 2, 3), strict=True)]
    together = train_cohort(architecture(dataset, 1), dataset, settings, members)
    assert len({result.epochs_to_target for result in together}) > 1, "the test needs members that leave apart"
    for member, result in zip(members, together, strict=True):
        (alone,) = train_cohort(architecture(dataset, 1), dataset, settings, [member])
        assert (alone.outcome, alone.steps_to_target) == (result.outcome, result.steps_to_target)
        assert alone.history[-1].train_loss == pytest.approx(result.history[-1].train_loss, rel=1e-9)


def test_evaluation_is_over_the_full_training_and_heldout_sets():
    dataset = classes()
    settings = replace(SETTINGS, max_epochs=1)
    cohort = run(dataset, architecture(dataset), settings, GRID)
    model = build(architecture(dataset), dtype=torch.float64)
    for index, history in enumerate(cohort.histories):
        model.load_state_dict(cohort.engine.stack.member(index))
        outputs = model(torch.as_tensor(dataset.inputs).double())
        labels = torch.as_tensor(dataset.targets)
        assert history[-1].train_loss == pytest.approx(F.cross_entropy(outputs, labels).item(), rel=1e-12)
        assert history[-1].train_accuracy == (outputs.argmax(1) == labels).double().mean().item()
        heldout = model(torch.as_tensor(dataset.heldout_inputs).double()).argmax(1).numpy()
        assert history[-1].heldout_accuracy == pytest.approx((heldout == dataset.heldout_targets).mean())


def test_a_net_whose_outputs_all_tie_is_not_called_accurate():
    dataset = classes()
    shape = architecture(dataset)
    with torch.inference_mode():
        cohort = RunningCohort(shape, dataset, SETTINGS, GRID, torch.device("cpu"))
        cohort.engine.stack.last.zero_()
        cohort.evaluate(0.0, 0)
    assert cohort.histories[0][0].train_accuracy == pytest.approx(np.mean(dataset.targets == 0))


def test_the_target_is_checked_as_often_as_asked():
    settings = replace(SETTINGS, evaluations_per_epoch=3, max_epochs=2)
    (result,) = train_cohort(architecture(classes()), classes(), settings, [Member(0.1, 0)])
    assert [e.step for e in result.history] == [0, 3, 6, 8, 11, 14, 16]
    assert result.history[1].epoch == pytest.approx(3 / 8)


def test_outcomes_are_told_apart():
    dataset, settings = regression(), replace(SETTINGS, target=Target("train_loss", 0.02), max_epochs=30)
    members = [Member(rate, 0) for rate in (0.1, 1e-6, 1e3)]
    reached, censored, diverged = train_cohort(architecture(dataset, 1, "linear"), dataset, settings, members)
    assert [r.outcome for r in (reached, censored, diverged)] == [Outcome.REACHED, Outcome.CENSORED, Outcome.DIVERGED]
    assert reached.history[-1].train_loss <= 0.02 < reached.history[-2].train_loss
    assert reached.epochs_to_target == reached.history[-1].epoch
    assert reached.steps_to_target == 8 * reached.epochs_to_target
    assert censored.epochs_to_target is None
    assert len(censored.history) == 31
    assert diverged.epochs_to_target is None
    assert "epoch" in diverged.message
    assert not math.isfinite(diverged.history[-1].train_loss)


def test_tuning_runs_go_on_past_the_target():
    settings = replace(SETTINGS, target=Target("train_loss", 100.0), max_epochs=3, stop_at_target=False)
    (result,) = train_cohort(architecture(classes()), classes(), settings, [Member(0.1, 0)])
    assert result.outcome is Outcome.REACHED
    assert result.epochs_to_target == 1
    assert result.history[-1].epoch == 3


def test_a_race_ends_for_all_at_the_check_at_which_the_first_is_there():
    settings = replace(SETTINGS, target=Target("train_loss", 0.02), max_epochs=30, evaluations_per_epoch=2)
    dataset, rates = regression(), (0.1, 0.05, 1e-6, 1e3)
    shape, members = architecture(dataset, 1, "linear"), [Member(rate, 0) for rate in rates]
    alone = train_cohort(shape, dataset, settings, members)
    raced = train_cohort(shape, dataset, replace(settings, race=(0.1, 0.2)), members)
    won, slower, hopeless, diverged = raced
    assert repr(won) == repr(alone[0])
    assert alone[1].outcome is Outcome.REACHED
    assert repr(diverged) == repr(alone[3])
    for lost, whole in ((slower, alone[1]), (hopeless, alone[2])):
        assert (lost.outcome, lost.epochs_to_target, lost.message) == (Outcome.CENSORED, None, OUTRUN)
        assert repr(lost.history) == repr(whole.history[: len(won.history)])
        assert lost.history[-1].epoch == won.epochs_to_target < whole.history[-1].epoch


def test_a_run_whose_rival_wins_at_the_last_check_had_all_its_epochs():
    settings = replace(SETTINGS, target=Target("train_loss", 0.02), max_epochs=30, race=(0.1, 0.2))
    dataset, members = regression(), [Member(0.1, 0), Member(1e-6, 0)]
    shape = architecture(dataset, 1, "linear")
    (won, _) = train_cohort(shape, dataset, settings, members)
    last = replace(settings, max_epochs=int(won.epochs_to_target))
    _, lost = train_cohort(shape, dataset, last, members)
    assert (lost.outcome, lost.message, lost.history[-1].epoch) == (Outcome.CENSORED, "", last.max_epochs)


def test_a_race_that_nobody_wins_goes_on_to_the_last_epoch():
    (slow, slower) = (Member(rate, 0) for rate in (1e-5, 1e-6))
    settings = replace(SETTINGS, target=Target("train_loss", 1e-9), max_epochs=3, race=(0.1, 0.2))
    results = train_cohort(architecture(regression()), regression(), settings, [slow, slower])
    assert [(r.outcome, r.message, r.history[-1].epoch) for r in results] == [(Outcome.CENSORED, "", 3)] * 2


def test_initial_weights_do_not_count_as_reaching_the_target():
    settings = replace(SETTINGS, target=Target("train_loss", 100.0))
    (result,) = train_cohort(architecture(classes()), classes(), settings, [Member(0.1, 0)])
    assert result.epochs_to_target == 1


def test_unusable_input_is_refused():
    dataset = classes()
    with pytest.raises(InputError, match="no members"):
        train_cohort(architecture(dataset), dataset, SETTINGS, [])
    with pytest.raises(InputError, match=r"batch size 98 is larger than the data set 'digits' \(97 examples\)"):
        train_cohort(architecture(dataset), dataset, replace(SETTINGS, batch_size=98), GRID)
    with pytest.raises(InputError, match="solve the shape for this data set"):
        train_cohort(architecture(regression()), dataset, SETTINGS, GRID)


@pytest.mark.gpu
@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
def test_cuda_equals_cpu(members):
    dataset = classes()
    cpu, cuda = (train_cohort(architecture(dataset), dataset, SETTINGS, members, device=d) for d in ("cpu", "cuda"))
    for a, b in zip(cpu, cuda, strict=True):
        assert a.history[-1].train_loss == pytest.approx(b.history[-1].train_loss, rel=1e-9)
