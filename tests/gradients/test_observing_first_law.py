"""observe never ends or changes a run: faults in every stage leave gradients, weights, buffers, random states alone."""

import contextlib
import copy
import gc
import random
import warnings
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.errors import InputError, MeasurementError
from batchscope.gradients import ObserveWarning, observe
from batchscope.gradients.backward.collect import Collector
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing import (
    auditing,
    backward_watch,
    choosing,
    forward_watch,
    gradient_changes,
    halves,
    inside,
    loop_gradients,
    notes,
    output_hooks,
    own_passes,
    pass_results,
    passes,
    replay,
    step_log,
    step_under_way,
    watcher,
)
from batchscope.gradients.observing import steps as counting
from tests.gradients.loops import Recurrent


def dropout_net():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(7, 3))


def batchnorm_net():
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))


NETS = {"inside": dropout_net, "replay": Recurrent, "groups": batchnorm_net}


def train(build, watch, micro_batches=1):
    """Everything a run leaves behind: gradients of every step, weights, buffers, random states."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the user's generator, which must not move
    model = build()
    generator = torch.Generator().manual_seed(1)
    data = [(torch.randn(6, 5, generator=generator), torch.randint(0, 3, (6,), generator=generator)) for _ in range(6)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    left = []
    with watch(model, optimizer) as observed:
        for k, (x, y) in enumerate(data):
            (F.cross_entropy(model(x), y) / micro_batches).backward()
            if (k + 1) % micro_batches == 0:
                left += [p.grad.clone() for p in model.parameters()]
                optimizer.step()
                optimizer.zero_grad()
    left += [value.clone() for value in model.state_dict().values()]
    left += [torch.random.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype("int64"))]  # noqa: NPY002
    left.append(torch.tensor([hash(random.getstate()) % 2**31]))
    assert snapshot(model) == snapshot(build())
    return left, observed


def snapshot(model):
    """Hooks and attributes."""
    return [
        (name, sorted(module.__dict__), [len(value) for key, value in module.__dict__.items() if "hooks" in key])
        for name, module in model.named_modules()
    ] + [(name, len(p._backward_hooks or ()), sorted(p.__dict__)) for name, p in model.named_parameters()]


class Nothing:
    def __init__(self, model, optimizer):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def quietly(**options):
    return lambda model, optimizer: observe(model, optimizer=optimizer, audit_every=2, **options)


WHOLE = (
    watcher.Watcher, forward_watch.ForwardWatch, backward_watch.BackwardWatch, step_under_way.StepUnderWay,
    pass_results.PassResults, gradient_changes.GradientChanges,
)  # fmt: skip

# All but what cleans up: entering is undone by `leave` and `drop`.
STAGES = [
    *((kind, name) for kind in WHOLE for name in vars(kind)
      if name.startswith("_") and not name.startswith(("__", "_on_")) and callable(getattr(kind, name))
      and (kind, name) not in (
          (step_under_way.StepUnderWay, "_begin"), (step_under_way.StepUnderWay, "_release"))),
    (forward_watch.ForwardWatch, "begin"), (forward_watch.ForwardWatch, "await_gradients"),
    (backward_watch.BackwardWatch, "watch_parameters"), (step_under_way.StepUnderWay, "forget_discarded"),
    *((step_under_way.StepUnderWay, name) for name in ("keep_sums", "mark", "look_for_writes", "was_written")),
    (step_under_way, "_marks_of"), (gradient_changes.GradientChanges, "check"), (gradient_changes, "change_of"),
    (gradient_changes, "norms_differ"), (passes, "_add"), (counting.Steps, "held"),
    (step_under_way.StepUnderWay, "train_others"), (step_under_way.StepUnderWay, "end"),
    (pass_results.PassResults, "add"), (pass_results.PassResults, "_find_scale"),
    (own_passes.OwnPasses, "run"), (own_passes.OwnPasses, "own_gradients"), (pass_results, "_misfit"),
    (watcher.Watcher, "finish"),
    (pass_results, "derive_again"), (pass_results, "audit"), (pass_results, "measure_again"),
    (pass_results, "misfit"), (forward_watch, "batch_of"), (backward_watch, "held"), (backward_watch, "are_empty"),
    (forward_watch, "tensors_of"), (forward_watch, "await_gradients"), (watcher, "await_any"),
    (output_hooks, "tensors_of"),
    (output_hooks, "before_cast"), (step_log, "example_moments"), (step_log, "group_moments"),
    *((step_log.StepLog, name) for name in vars(step_log.StepLog) if not name.startswith("__")),
    (choosing.Choice, "capture"), (step_log, "of_halves"), (step_log, "Moments"), (watcher.Told, "remark"),
    (watcher.Told, "factor"), (choosing, "rehearse"), (choosing.Choice, "make"), (replay.Recording, "start"),
    (replay.Recording, "restore"), (replay.Recording, "setting"), (replay, "check_sums"), (replay, "_one_by_one"),
    (replay.Replay, "_contributions"), (auditing, "_compare"), (halves, "_gradients"), (passes, "sq_norms"),
    (passes.BackwardPass, "add"), (passes.BackwardPass, "finish"), (passes.StepSums, "add_gradients"),
    (passes.StepSums, "add_norms"), (passes.StepSums, "add_group"), (passes.StepSums, "sq_norm_sums"),
    (inside.InsideCapture, "_see"), (inside.InsideCapture, "_receive_row"),
    (inside.InsideCapture, "_follow"), (inside.InsideCapture, "_watch"),
    (inside.InsideCapture, "_receive_at"), (inside.InsideCapture, "finish"), (inside.InsideCapture, "__init__"),
    (inside.InsideCapture, "__enter__"), (inside, "_on_gradient_of"), (Collector, "receive"), (Planner, "norms"),
    (loop_gradients.LoopGradients, "_see"), (loop_gradients.LoopGradients, "_added"),
    (loop_gradients.LoopGradients, "__init__"), (counting.Steps, "_before"), (counting.Steps, "_after"),
    (counting.Steps, "add_pass"), (counting.Steps, "start"), (notes.Notes, "loss"), (notes.Notes, "remark"),
]  # fmt: skip


@pytest.fixture(scope="module")
def unobserved():
    return {(name, count): train(build, Nothing, count)[0] for name, build in NETS.items() for count in (1, 2)}


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), pytest.param(MemoryError(), marks=pytest.mark.slow)], ids=["runtime", "memory"]
)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage[0].__name__.split('.')[-1]}-{stage[1]}")
def test_a_fault_in_any_stage_changes_nothing(stage, error, unobserved, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(*stage, fail)
    warnings.simplefilter("ignore")
    for name, build in NETS.items():
        left, _ = train(build, quietly(every=2), 2 if name == "inside" else 1)
        for mine, right in zip(left, unobserved[name, 2 if name == "inside" else 1], strict=True):
            assert torch.equal(mine, right)
    assert torch.overrides._get_current_function_mode() is None


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_without_a_fault_too_nothing_changes_and_every_step_is_observed(name, count, unobserved):
    left, observed = train(NETS[name], quietly(), count)
    for mine, right in zip(left, unobserved[name, count], strict=True):
        assert torch.equal(mine, right)
    assert list(observed.history) == list(range(6 // count))
    assert not observed.notes


def test_a_fault_is_a_note_and_one_warning(monkeypatch):
    def fail(*args):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(step_log, "example_moments", fail)
    with pytest.warns(ObserveWarning, match="disk on fire") as seen:
        _, observed = train(dropout_net, quietly())
    assert len(seen) == 1
    first, *_ = observed.notes
    assert first.step == 0
    assert "disk on fire" in first.reason
    assert first.remedy
    assert first.times > 1
    assert "has ended" in str(observed.notes)  # after several in a row
    with pytest.raises(AttributeError):
        first.step = 3


def test_warnings_that_are_errors_do_not_end_the_run(monkeypatch, unobserved):
    monkeypatch.setattr(step_log, "example_moments", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left, observed = train(dropout_net, quietly())
    assert observed.notes
    assert all(torch.equal(a, b) for a, b in zip(left, unobserved["inside", 1], strict=True))


def test_strict_raises(monkeypatch):
    with (
        pytest.raises(MeasurementError, match="no call of the model"),
        observe(nn.Linear(5, 3), strict=True) as observed,
    ):
        observed._watcher.on_end_of_step(0)
    monkeypatch.setattr(step_log, "example_moments", None)
    with pytest.raises(TypeError):
        train(dropout_net, quietly(strict=True))


def test_between_observed_steps_parameters_have_no_tables_of_hooks():
    """Autograd looks into a table that is left behind in every backward pass, though it is empty."""
    model = dropout_net()
    first, other = model[0].weight, model[0].bias
    kept = other.register_hook(lambda gradient: None)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    seen = []
    with observe(model, every=2, optimizer=optimizer):
        for _ in range(4):
            model(torch.randn(6, 5)).sum().backward()
            seen.append(first._post_accumulate_grad_hooks is None)
            optimizer.step()
            assert first._backward_hooks is None
            assert first._post_accumulate_grad_hooks is None
            assert list(other._backward_hooks) == [kept.id]
            optimizer.zero_grad()
    assert seen == [False, True, True, True]  # the first step has its hooks


def test_the_loops_own_error_comes_through_and_nothing_is_left_behind():
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="mat1"), observe(model):
        model(torch.randn(4, 6))
    with pytest.raises(ZeroDivisionError):
        train_and_fail(model)
    assert snapshot(model) == before
    assert torch.overrides._get_current_function_mode() is None


def train_and_fail(model):
    with observe(model):
        model(torch.randn(4, 5)).sum().backward()
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"accumulation": 0},
        {"reduction": "average"},
        {"loss_scale": 0},
        {"loss_scale": float("nan")},
        {"audit_every": 0},
        {"population": 0},
        {"population": None},
        {"population": 2.5},
        {"optimizer": "sgd"},
        {"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)},
    ],
    ids=str,
)
def test_wrong_arguments_raise_at_entry(options):
    with pytest.raises(InputError):
        observe(nn.Linear(5, 3), **options)


def test_nothing_to_observe_is_refused_and_silence_is_explained():
    with pytest.raises(InputError, match="no parameter"):
        observe(nn.Linear(5, 3).requires_grad_(False))
    model = nn.Linear(5, 3)
    with pytest.warns(ObserveWarning, match="nothing was observed"), observe(model) as observed, torch.no_grad():
        model(torch.randn(4, 5))
    assert len(observed.notes) == 1


def test_copies_and_saved_models_carry_no_working_hook(tmp_path):
    model = nn.Linear(5, 3)
    with observe(model) as observed:
        twin = copy.deepcopy(model)
        torch.save(model, tmp_path / "model.pt")
        for other in (twin, torch.load(tmp_path / "model.pt", weights_only=False)):
            other(torch.randn(4, 5)).square().sum().backward()
        assert not observed.history
        F.cross_entropy(model(torch.randn(4, 5)), torch.tensor([0, 1, 2, 0])).backward()
    assert list(observed.history) == [0]


@pytest.mark.parametrize("name", NETS)
def test_no_step_is_kept_after_its_end(name):
    """Outputs hold their hooks and hooks hold what they await: of a run of days, nothing of this may pile up."""
    model = NETS[name]()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    outputs = []

    def call():
        output = model(torch.randn(6, 5))
        outputs.append(weakref.ref(output))
        return output

    with observe(model, optimizer=optimizer):
        for _ in range(4):
            call()  # evaluation with gradients on
            call().square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        gc.collect()
        assert [reference() for reference in outputs] == [None] * 8


def test_lists_that_the_model_appends_to_keep_their_entries():
    class Logging(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.seen = nn.Linear(5, 3), []

        def forward(self, x):
            self.seen.append(len(x))
            return self.linear(x)

    model = Logging()
    with observe(model) as observed:
        for _ in range(3):
            model(torch.randn(4, 5)).square().mean().backward()
    assert model.seen == [4, 4, 4]
    assert len(observed.history) == 3


class Scaling(nn.Module):
    """Changes its inputs in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x):
        return self.linear(x.mul_(0.5))


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_models_that_change_their_inputs_in_place(micro_batches):
    def run(watch):
        torch.manual_seed(0)
        model = Scaling()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        data = [torch.randn(7, 5) for _ in range(4)]
        labels = torch.randint(0, 3, (7,))
        with watch(model, optimizer) as observed:
            for k, x in enumerate(data * 2):  # every batch twice: what happens to it shows
                F.cross_entropy(model(x), labels).backward()
                if k % micro_batches == micro_batches - 1:
                    optimizer.step()
                    optimizer.zero_grad()
        return [model.linear.weight.detach(), *data], observed

    plain, _ = run(lambda model, optimizer: contextlib.nullcontext())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ObserveWarning)
        watched, observed = run(lambda model, optimizer: observe(model, optimizer=optimizer, audit_every=2))
    assert all(map(torch.equal, plain, watched))
    assert list(observed.history) == list(range(1, 8 // micro_batches))
    assert [note.step for note in observed.notes] == [0]


def test_inputs_that_the_loop_overwrites_before_its_backward_pass():
    torch.manual_seed(0)
    model, buffer = nn.Sequential(nn.Tanh(), Recurrent()), torch.empty(7, 5)

    def step():
        loss = F.cross_entropy(model(buffer.normal_()), torch.randint(0, 3, (7,)))
        buffer.zero_()
        loss.backward()
        model.zero_grad()

    with observe(model) as observed:
        with pytest.warns(ObserveWarning, match="changed in place"):
            step()
        step()
        step()
    assert list(observed.history) == [1, 2]
