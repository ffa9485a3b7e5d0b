"""What surrounds an observed call (checkpoints, caches, other graphs, observers) is not touched by our own passes."""

import contextlib
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import cached
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

from batchscope.gradients import measure, observe
from batchscope.gradients.subject.state import Buffers, apart
from tests.gradients.loops import DATA, Recurrent, both, check, cross_entropy, net, plain, truth

pytestmark = pytest.mark.filterwarnings("ignore::batchscope.gradients.ObserveWarning")


@pytest.mark.parametrize("build", [net, Recurrent], ids=["inside", "second pass"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["hooks", "reentrant"])
def test_a_checkpoint_around_the_whole_model(build, reentrant):
    def step(model, x, y):
        x = x.clone().requires_grad_(reentrant)
        F.cross_entropy(checkpoint(model, x, use_reentrant=reentrant), y).backward()

    assert not both(build, step).notes


@pytest.mark.parametrize("build", [net, Recurrent], ids=["inside", "second pass"])
def test_a_checkpoint_that_keeps_the_results_of_some_operations(build):
    kept = partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default, torch.ops.aten.addmm.default])

    def step(model, x, y):
        F.cross_entropy(checkpoint(model, x, use_reentrant=False, context_fn=kept), y).backward()

    assert not both(build, step).notes


def test_a_count_of_operations_is_that_of_the_loop():
    counts = []

    def step(model, x, y):
        with FlopCounterMode(display=False) as counter:
            plain(model, x, y)
        counts.append(counter.get_total_flops())

    for build in (net, Recurrent):
        counts.clear()
        both(build, step)
        half = len(counts) // 2
        assert counts[:half] == counts[half:]


def test_hooks_on_saved_tensors_are_for_the_loop_alone():
    calls = []

    def pack(tensor):
        calls.append(tensor.shape)
        return tensor.detach()

    def step(model, x, y):
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            plain(model, x, y)

    for build in (net, Recurrent):
        calls.clear()
        both(build, step)
        half = len(calls) // 2
        assert calls[:half] == calls[half:]  # unobserved, then observed


def test_weights_that_parametrisations_keep_belong_to_one_graph():
    def build():
        return nn.Sequential(weight_norm(nn.Linear(5, 8)), nn.Tanh(), nn.Linear(8, 3))

    def step(model, x, y):
        with cached():
            loss = cross_entropy(model, x, y)
        loss.backward()

    both(build, step)
    torch.manual_seed(0)
    model = build().double()
    right = truth(model, cross_entropy, *DATA[0])
    with cached():
        report = measure(model, F.cross_entropy, (DATA[0][0].double(), DATA[0][1]))
    assert (report.num_examples, report.total.sum_sq_norms, report.total.sq_norm_sum) == pytest.approx(right)


def test_half_precision_copies_of_weights_are_not_kept():
    weight = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad(), apart():
            weight @ weight  # kept, the copy would have no graph
        assert torch.is_autocast_cache_enabled()
        assert (weight @ weight).requires_grad


class Tied(nn.Module):
    """A head that is the table of its inputs."""

    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(5, 5), nn.Embedding(3, 5)

    def forward(self, x):
        return torch.tanh(self.layer(x)) @ self.table.weight.t()


def test_a_graph_behind_the_inputs_is_not_walked():
    def step(model, x, y):
        F.cross_entropy(model(torch.tanh(model.table(y)) + x), y).backward()

    observed = both(Tied, step, one=None)  # the gradients go on behind the inputs: no number, but a note
    assert not observed.history
    assert "do not add up" in observed.notes[1].reason

    def by_an_encoder(model, x, y):
        F.cross_entropy(model(torch.sigmoid(ENCODER(x))), y).backward()

    ENCODER = nn.Linear(5, 5)
    one = lambda model, x, y: F.cross_entropy(model(torch.sigmoid(ENCODER.double()(x)).detach()), y)  # noqa: E731
    float64 = [(x.double(), y) for x, y in DATA[:3]]
    both(lambda: net().double(), by_an_encoder, one, float64)


def test_calls_that_follow_each_other_in_another_mode():
    def step(model, x, y):
        model.train()
        h = model(x)
        model.eval()  # what was learned no longer holds: rehearsed anew, with a graph behind the inputs
        F.cross_entropy(model(h), y).backward()

    both(lambda: nn.Sequential(nn.Linear(5, 5), nn.Tanh()), step, one=None)


def test_lazy_parameters_take_their_values_in_the_loops_own_call():
    def build():
        return nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.Linear(8, 3))

    observed = both(build, one=None)
    assert list(observed.history) == [1, 2]
    assert "is lazy" in observed.notes[0].reason


def test_two_observers_of_one_model_and_one_of_its_parts():
    inner = []

    @contextlib.contextmanager
    def nested(model, optimizer):
        part = observe(model[0], optimizer=optimizer)
        again = observe(model, optimizer=optimizer, every=2)
        with observe(model, optimizer=optimizer) as observed, again, part:
            inner[:] = [again, part]
            yield observed

    torch.manual_seed(0)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    right = {}
    with nested(model, optimizer) as observed:
        for k, (x, y) in enumerate(DATA):
            right[k] = truth(model, cross_entropy, x, y)
            plain(model, x, y)
            optimizer.step()
            optimizer.zero_grad()
    assert not torch.overrides._get_current_function_mode_stack()
    check(observed, right)
    check(inner[0], {k: right[k] for k in (0, 2, 4)})
    for step, moments in inner[1].history.items():
        assert moments.sum_sq_norms == pytest.approx(
            sum(observed.history[step].by_parameter[name].sum_sq_norms for name in ("0.weight", "0.bias")), rel=1e-4
        )


def test_tables_that_nothing_writes_are_copied_once():
    model = nn.Linear(2, 2)
    model.register_buffer("table", torch.zeros(3, 3))
    model.register_buffer("queue", torch.zeros(3, 3))
    model.register_buffer("mean", torch.zeros(3))
    first = Buffers(model.modules())
    model.queue.add_(1)
    second = Buffers(model.modules(), first)
    copies = {id(buffer): copy for buffer, copy in second._values}
    shared = {id(copy) for _, copy in first._values}
    assert [id(copies[id(b)]) in shared for b in (model.table, model.queue, model.mean)] == [True, False, False]
    for buffer in model.buffers():
        buffer.add_(5)
    second.restore()
    assert [float(b.flatten()[0]) for b in (model.table, model.queue, model.mean)] == [0, 1, 0]
