"""Models and batches that people really have: exact by whatever rung of the ladder, or one clear word."""

from __future__ import annotations

import copy
import functools
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

import batchscope.losses as losses
from batchscope.errors import BatchscopeError, InputError, MeasurementError
from batchscope.gradients import measure, oracle, per_example_sq_norms
from tests.gradients.gradient_models import squared_error

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(nn.Module):
    """Layers by name and a forward function of (model, *inputs)."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def scalar(value):
    return nn.Parameter(torch.tensor(value))


def vectors(n, d=5):
    return torch.randn(n, d, dtype=torch.float64)


def sequences(n):
    return torch.randn(n, 3, 5, dtype=torch.float64)


def ids(n):
    return torch.randint(0, 11, (n, 4))


def blocks(reentrant):
    def run(m, x):
        h = torch.tanh(m.a(x))
        return m.c(checkpoint(m.b, h, use_reentrant=reentrant))

    middle = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 5), nn.GELU())
    return Model(run, a=nn.Linear(5, 5), b=middle, c=nn.Linear(5, 3))


def mixture(m, x):
    flat = torch.tanh(m.inp(x)).reshape(-1, 5)
    weight, chosen = m.router(flat).softmax(-1).topk(1, -1)
    out = torch.zeros_like(flat)
    for e, expert in enumerate((m.e0, m.e1)):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        out.index_add_(0, token, expert(flat[token]) * weight[token, slot, None])
    return m.head(out.view_as(x).mean(1))


def derivative(m, x):
    x = x.detach().requires_grad_(True)
    u = m.net(x)
    (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return du + u


def packed(m, x):
    lengths = (x[:, 0, 0] > 0).long() + 2
    _, h = m.r(pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False))
    return m.o(h[-1])


def spectral(m, x):
    f = torch.fft.rfft(x)[..., :2]
    return torch.fft.irfft(torch.einsum("ni,io->no", f, m.w), n=4)


def modulated(m, x):
    style = m.style(x.mean((1, 2)).unsqueeze(1)).exp()
    weight = (m.w * style[:, None, :, None]).flatten(0, 1)  # one kernel per example
    out = F.conv1d(x.transpose(1, 2).reshape(1, -1, x.shape[1]), weight, groups=len(x))
    return out.view(len(x), 4, -1).mean(2)


def adaptive(m, x):
    return m.soft.log_prob(m.a(x))


def counted(m, x):
    m.seen += 1.0
    m.last = x.detach().mean(0)
    return m.l(x) * torch.tanh(m.scale)


def buffered(function, **layers):
    model = Model(function, **layers)
    model.register_buffer("seen", torch.zeros(()))
    model.register_buffer("last", torch.zeros(5))
    return model


def in_place(m, x):
    y = m.p(x)
    y += x
    return F.relu_(m.o(y)).mean(1)


def twice(m, i):
    table = m.mix(m.e.weight)
    return (F.embedding(i, torch.tanh(m.mix(table))) + F.embedding(i, table)).mean(1)


def compiled_block():
    block = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
    block.compile(backend="eager")
    return nn.Sequential(block, torch.compile(nn.Linear(5, 3), backend="eager"))


CASES = {  # name -> (builder, inputs, whether everything has a rule)
    "scalar gate": (
        lambda: Model(lambda m, x: m.l(x) * m.g + m.b, l=nn.Linear(5, 3), g=scalar(0.7), b=scalar(0.1)),
        vectors,
        True,
    ),
    "reentrant checkpoint": (lambda: blocks(True), vectors, True),
    "checkpoint": (lambda: blocks(False), vectors, True),
    "compiled": (compiled_block, vectors, True),
    "folded ids": (
        lambda: Model(lambda m, i: m.e(i.view(-1)).view(*i.shape, 5).mean(1), e=nn.Embedding(11, 5)),
        ids,
        True,
    ),
    "indexed table": (
        lambda: Model(lambda m, i: m.w[i.flatten()].view(i.shape), w=nn.Parameter(torch.randn(11))),
        ids,
        False,
    ),
    "squeezed critic": (
        lambda: Model(
            lambda m, x: (m.v(x.reshape(-1, 5)).squeeze(-1) + m.b).view(-1, 3), v=nn.Linear(5, 1), b=scalar(0.3)
        ),
        sequences,
        True,
    ),
    "in place after linear": (lambda: Model(in_place, p=nn.Linear(5, 5), o=nn.Linear(5, 3)), sequences, True),
    "mixture of experts": (
        lambda: Model(
            mixture,
            inp=nn.Linear(5, 5),
            router=nn.Linear(5, 2),
            e0=nn.Linear(5, 5),
            e1=nn.Linear(5, 5),
            head=nn.Linear(5, 3),
        ),
        sequences,
        False,
    ),
    "derivative in the model": (
        lambda: Model(derivative, net=nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))),
        vectors,
        False,
    ),
    "torch.func in the model": (
        lambda: Model(
            lambda m, x: torch.func.vmap(torch.func.grad(lambda z: m.net(z).sum()))(x),
            net=nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)),
        ),
        vectors,
        False,
    ),
    "packed sequence": (lambda: Model(packed, r=nn.GRU(5, 7, batch_first=True), o=nn.Linear(7, 3)), sequences, False),
    "complex weight": (lambda: Model(spectral, w=nn.Parameter(torch.randn(2, 3, dtype=torch.cdouble))), vectors, False),
    "complex linear": (
        lambda: Model(lambda m, x: m.l(x.to(torch.cdouble)).abs(), l=nn.Linear(5, 3, dtype=torch.cdouble)),
        vectors,
        True,
    ),
    "sparse table": (
        lambda: Model(lambda m, i: m.o(m.e(i).mean(1)), e=nn.Embedding(11, 5, sparse=True), o=nn.Linear(5, 3)),
        ids,
        True,
    ),
    "sparse bag": (lambda: nn.EmbeddingBag(11, 5, sparse=True), ids, True),
    "modulated convolution": (
        lambda: Model(modulated, style=nn.Linear(1, 5), w=nn.Parameter(torch.randn(4, 5, 2))),
        lambda n: sequences(n),
        None,
    ),
    "adaptive softmax": (
        lambda: Model(adaptive, a=nn.Linear(5, 8), soft=nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8])),
        vectors,
        None,
    ),
    "prototypes": (
        lambda: Model(lambda m, x: torch.cdist(m.l(x), m.p), l=nn.Linear(5, 4), p=nn.Parameter(torch.randn(3, 4))),
        vectors,
        False,
    ),
    "hyper-network": (
        lambda: Model(lambda m, x: torch.bmm(m.h(x).view(-1, 3, 5), x.unsqueeze(2)).squeeze(2), h=nn.Linear(5, 15)),
        vectors,
        True,
    ),
    "weight from weights": (
        lambda: Model(lambda m, x: x @ m.h(m.code).view(5, 3), h=nn.Linear(2, 15), code=nn.Parameter(torch.randn(2))),
        vectors,
        None,
    ),
    "table seen twice by a layer": (lambda: Model(twice, e=nn.Embedding(11, 5), mix=nn.Linear(5, 5)), ids, None),
    "buffers in forward": (
        lambda: buffered(counted, l=nn.Linear(5, 3), scale=nn.Parameter(torch.randn(3))),
        vectors,
        True,
    ),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 3)), vectors, True),
    "data parallel": (lambda: nn.DataParallel(nn.Linear(5, 3)), vectors, True),
    "inputs that require grad": (lambda: nn.Sequential(nn.Linear(5, 3)), lambda n: vectors(n).requires_grad_(), True),
    "sequences that require grad": (
        lambda: Model(lambda m, x: m.l(x).mean(1), l=nn.Linear(5, 3)),
        lambda n: sequences(n).requires_grad_(),
        True,
    ),
    "frozen table made to require grad": (
        lambda: Model(
            lambda m, i: m.b(m.a(m.e(i).requires_grad_())).mean(1),
            e=nn.Embedding(11, 5).requires_grad_(False),
            a=nn.Linear(5, 2, bias=False),
            b=nn.Linear(2, 3),
        ),
        ids,
        True,
    ),
    "calls that depend on N": (
        lambda: Model(lambda m, x: m.a(x) if len(x) < 4 else x @ m.a.weight.t() + m.a.bias, a=nn.Linear(5, 3)),
        vectors,
        None,
    ),
}


def double(model):
    return model.double() if not any(p.is_complex() for p in model.parameters()) else model


def truth_of(model, data):
    """(S1, Q) by the loop over examples, a complex number counted as two reals."""
    model = getattr(model, "module", model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    total, s1, state = 0.0, 0.0, copy.deepcopy(model.state_dict())
    for x, y in data:
        for i in range(len(y)):
            model.load_state_dict(state)  # every pass starts from the same buffers
            model.zero_grad()
            squared_error(model(x[i : i + 1]), y[i : i + 1]).sum().backward()
            g = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in parameters]
            v = torch.cat([(torch.view_as_real(a) if a.is_complex() else a).flatten() for a in g])
            s1, total = s1 + float(v @ v), total + v
    return s1, float(total @ total)


@pytest.mark.parametrize("name", CASES)
def test_kinds_of_models(name):
    torch.manual_seed(sum(map(ord, name)))
    build, inputs, has_rules = CASES[name]
    model, data = double(build()), []
    for n in (5, 7):
        x = inputs(n)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        y = torch.randn(model(x).shape, dtype=torch.float64)
        model.load_state_dict(state)
        data.append((x, y))
    state, generator = (
        copy.deepcopy(model.state_dict()),
        (torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1]),  # noqa: NPY002
    )
    report = measure(model, squared_error, data)
    truth = truth_of(copy.deepcopy(model), data)
    assert (report.sum_sq_norms, report.sq_norm_sum) == pytest.approx(truth, rel=1e-8)
    assert has_rules is None or bool(report.coverage.fallbacks) != has_rules, str(report.coverage)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in state.items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(generator[0], torch.random.get_rng_state())
    assert generator[1] == random.getstate()
    assert (generator[2] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_rebound_buffers_are_left_as_they_were():
    model = buffered(counted, l=nn.Linear(5, 3), scale=nn.Parameter(torch.randn(3))).double()
    before = dict(model.named_buffers())
    measure(model, squared_error, (vectors(5), vectors(5, 3)))
    assert all(buffer is before[name] for name, buffer in model.named_buffers())


@pytest.mark.parametrize("seed", range(25))
def test_tokens_without_padding_are_right_or_refused(seed):
    """Sentences one after another in one axis: sizes fit the number of examples by chance in some batches."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.o = nn.Embedding(13, 5), nn.Linear(5, 3)

        def forward(self, ids, lengths):
            owner = torch.arange(len(lengths)).repeat_interleave(lengths)
            flat = torch.cat([row[:n] for row, n in zip(ids, lengths.tolist(), strict=True)])
            pooled = torch.zeros(len(lengths), 5, dtype=torch.float64).index_add(0, owner, torch.tanh(self.e(flat)))
            return self.o(pooled)

    torch.manual_seed(seed)
    model = Tokens().double()
    data = [((torch.randint(0, 13, (n, 5)), torch.randint(1, 4, (n,))), torch.randint(0, 3, (n,))) for n in (4, 6)]
    report = measure(model, F.cross_entropy, data)
    truth = 0.0
    for (i, lengths), y in data:
        truth += sum(s1 for s1, _ in oracle.moments(model, F.cross_entropy, (i, lengths), y).values())
    assert report.sum_sq_norms == pytest.approx(truth, rel=1e-9)


def test_ids_with_offsets():
    torch.manual_seed(0)
    model = Model(lambda m, i, o: m.o(m.e(i, o)), e=nn.EmbeddingBag(20, 5, mode="sum"), o=nn.Linear(5, 3)).double()
    lengths = torch.tensor([3, 1, 2, 5, 1])
    flat, offsets, y = torch.randint(0, 20, (12,)), lengths.cumsum(0) - lengths, torch.randint(0, 3, (5,))
    norms = per_example_sq_norms(model, F.cross_entropy, (flat, offsets), y)
    for i, (start, n) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        one = F.cross_entropy(model(flat[start : start + n], torch.zeros(1, dtype=torch.long)), y[i : i + 1])
        square = sum(float(g.square().sum()) for g in torch.autograd.grad(one, list(model.parameters())))
        assert float(norms[i]) == pytest.approx(square, rel=1e-9)


def graphs(batch):
    (x, owner), y = batch
    for i in range(len(y)):
        yield (x[owner == i], torch.zeros(int((owner == i).sum()), dtype=torch.long)), y[i : i + 1]


def pooled(m, x, owner):
    return torch.zeros(int(owner.max()) + 1, 3, dtype=torch.float64).index_add(0, owner, torch.tanh(m.l(x)))


def test_examples_that_no_axis_counts():
    torch.manual_seed(0)
    model = Model(pooled, l=nn.Linear(5, 3)).double()
    owner = torch.tensor([0, 0, 0, 1, 2, 2, 3])
    data = [((vectors(7), owner), torch.randint(0, 3, (4,)))]
    report = measure(model, F.cross_entropy, data, examples=graphs)
    truth = 0.0
    for x, y in graphs(data[0]):
        g = torch.autograd.grad(F.cross_entropy(model(*x), y), list(model.parameters()))
        truth += sum(float(a.square().sum()) for a in g)
    assert report.num_examples == 4
    assert report.sum_sq_norms == pytest.approx(truth, rel=1e-10)
    assert "one example at a time: 4 examples" in str(report.plan)
    with pytest.raises(MeasurementError, match="do not add up"):
        measure(model, F.cross_entropy, data, examples=lambda batch: list(graphs(batch))[:-1])


class OwnLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.o = nn.Embedding(9, 5), nn.Linear(5, 9)

    def forward(self, ids, labels=None):
        logits = self.o(self.e(ids))
        return logits, None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def test_a_model_with_its_own_loss():
    torch.manual_seed(0)
    model, i, t = OwnLoss().double(), torch.randint(0, 9, (6, 4)), torch.randint(0, 9, (6, 4))
    own = measure(model, "model", [{"ids": i, "labels": t}])
    named = measure(
        model, functools.partial(losses.token_cross_entropy, per_sequence="mean"), [{"ids": i, "labels": t}]
    )
    assert own.sum_sq_norms == pytest.approx(named.sum_sq_norms, rel=1e-10)
    assert own.sq_norm_sum == pytest.approx(named.sq_norm_sum, rel=1e-10)
    assert own.coverage.fallbacks == ()  # taken apart where the model forms the mean
    with pytest.raises(InputError, match="Are the labels among"):
        measure(nn.Embedding(9, 5), "model", [(i, t)])


OWN = {
    "weights and ignored": (lambda z, t: F.cross_entropy(z, t, WEIGHTS, ignore_index=0), True),
    "smoothing": (lambda z, t: F.cross_entropy(z, t, label_smoothing=0.1), True),
    "sum": (lambda z, t: F.cross_entropy(z, t, reduction="sum"), True),
    "likelihood": (lambda z, t: F.nll_loss(z.log_softmax(1), t), True),
    "module": (lambda z, t: nn.MSELoss()(z, F.one_hot(t, 9).double()), True),
    "binary": (lambda z, t: F.binary_cross_entropy_with_logits(z, F.one_hot(t, 9).double()), True),
    "two terms": (lambda z, t: F.cross_entropy(z, t) + 1e-2 * z.square().mean(), False),
    "by hand": (lambda z, t: -z.log_softmax(1).gather(1, t[:, None]).mean(), False),
}
WEIGHTS = torch.linspace(0.5, 2, 9, dtype=torch.float64)


@pytest.mark.parametrize("form", OWN)
def test_terms_of_a_models_own_loss(form):
    """Recovered from one pass or not: what counts is the loss of each example alone."""
    torch.manual_seed(0)
    loss, is_recovered = OWN[form]

    class Own(OwnLoss):
        def forward(self, ids, labels):
            return {"loss": loss(self.o(self.e(ids)).flatten(0, 1), labels.flatten())}

    model, ids, labels = Own().double(), torch.randint(0, 9, (6, 4)), torch.randint(1, 9, (6, 4))
    labels[torch.rand(6, 4) < 0.3] = 0
    labels[:, 0] = 3
    squares, total = 0.0, 0.0
    for i, t in zip(ids, labels, strict=True):
        gradients = torch.autograd.grad(model(i[None], t[None])["loss"], list(model.parameters()))
        flat = torch.cat([g.flatten() for g in gradients])
        squares, total = squares + float(flat @ flat), total + flat
    report = measure(model, "model", [{"ids": ids, "labels": labels}])
    assert (report.sum_sq_norms, report.sq_norm_sum) == pytest.approx((squares, float(total @ total)), rel=1e-9)
    assert (report.coverage.fallbacks == ()) is is_recovered


def test_losses_of_sequences():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    labels[1, 2:], labels[2] = -100, -100
    shifted = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    torch.testing.assert_close(losses.causal_lm({"logits": logits}, labels), shifted.sum(1))
    mean = losses.causal_lm((logits, None), labels, per_sequence="mean")
    torch.testing.assert_close(mean[0], shifted[0].mean())
    torch.testing.assert_close(mean[1], shifted[1, 0])
    assert float(mean[2]) == 0
    with pytest.raises(InputError, match="expected logits"):
        losses.token_cross_entropy(logits, labels[:, 1:])
    with pytest.raises(InputError, match="per_sequence"):
        losses.causal_lm(logits, labels, per_sequence="max")


LINEAR = nn.Linear(4, 3)
DRAWN = torch.Generator().manual_seed(0)
X, Y = torch.randn(8, 4, generator=DRAWN), torch.randint(0, 3, (8,), generator=DRAWN)
FORMS = {
    "dict": ([{"input": X, "labels": Y}], ""),
    "int32 labels": ((X, Y.int()), "torch.int32"),
    "labels [N, 1]": ((X, Y[:, None]), "taken as [N]"),
    "numpy float64": ((X.double().numpy(), Y.numpy()), "torch.float64"),
    "uint16 labels": ((X.numpy(), Y.numpy().astype(np.uint16)), ""),
    "big-endian": ((X.numpy().astype(">f4"), Y.numpy()), ""),
    "reversed": ((X.numpy()[::-1], Y.numpy()[::-1]), ""),
    "float64 tensor": ((X.double(), Y), "converted to the model's"),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_people_pass_is_converted_and_said(form):
    data, note = FORMS[form]
    report = measure(LINEAR, F.cross_entropy, data)
    assert report.sum_sq_norms == pytest.approx(measure(LINEAR, F.cross_entropy, (X, Y)).sum_sq_norms, rel=1e-5)
    assert note in " ".join(report.notes)
    assert bool(note) == bool(report.notes) or form == "uint16 labels"


REFUSED = {
    "lazy": (lambda: measure(nn.LazyLinear(3), F.cross_entropy, (X, Y)), "lazy"),
    "meta": (lambda: measure(nn.Linear(4, 3, device="meta"), F.cross_entropy, (X, Y)), "meta device"),
    "label": (lambda: measure(LINEAR, F.cross_entropy, (X, Y + 2)), "out of range"),
    "nan": (lambda: measure(LINEAR, F.cross_entropy, (X / 0, Y)), "expected finite losses"),
    "broadcast": (
        lambda: measure(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), nn.MSELoss(), (X, torch.randn(8, 1))),
        "broadcast",
    ),
    "shape": (lambda: measure(LINEAR, lambda o, t: F.cross_entropy(o[:, :1] @ o[:2], t), (X, Y)), "failed on a batch"),
    "three": (lambda: measure(LINEAR, F.cross_entropy, [(X, Y, Y)]), "tuple of 3"),
    "exhausted": (lambda: measure(LINEAR, F.cross_entropy, iter([])), "exhausted"),
    "no graph": (lambda: measure(LINEAR, lambda o, t: o.detach().sum(1), (X, Y)), "no graph"),
    "no module": (lambda: measure(lambda x: x, F.cross_entropy, (X, Y)), "expected a torch.nn.Module"),
    "loss": (lambda: measure(LINEAR, "mean", (X, Y)), "expected a function"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_measured_is_named(what):
    call, words = REFUSED[what]
    with pytest.raises(BatchscopeError, match=words):
        call()


def test_a_later_batch_that_breaks_the_rules_is_measured_anew():
    """Rows leave the order of the examples from the third batch on; sizes and calls stay the same."""

    class Turning(nn.Module):
        def __init__(self):
            super().__init__()
            self.l, self.s = nn.Linear(5, 5), nn.Parameter(torch.randn(5))

        def forward(self, x):
            order = torch.arange(len(x)).flip(0) if float(x[0, 0]) > 100 else torch.arange(len(x))
            h = (torch.tanh(self.l(x))[order] * self.s)[order]
            return h

    torch.manual_seed(0)
    model = Turning().double()
    data = [(vectors(6), vectors(6)) for _ in range(9)]
    for x, _ in data[2:]:
        x[0, 0] = 101.0
    report = measure(model, squared_error, data)
    truth = sum(s1 for x, y in data for s1, _ in oracle.moments(model, squared_error, x, y).values())
    assert report.sum_sq_norms == pytest.approx(truth, rel=1e-9)


def test_a_mask_that_masks_nothing_is_left_out_by_the_model_and_rules_still_hold():
    def masked(m, x, mask):
        h = m.l(x)
        return (h if bool(mask.all()) else h * mask[..., None]).sum(1) * m.g

    torch.manual_seed(0)
    model = Model(masked, l=nn.Linear(5, 3), g=nn.Parameter(torch.randn(3))).double()
    mask = torch.ones(8, 3, dtype=torch.long)
    mask[5, 1:] = 0
    data = [
        ((sequences(8), m), torch.randint(0, 3, (8,)))
        for m in (torch.ones_like(mask), mask, torch.ones_like(mask), mask)
    ]
    report = measure(model, F.cross_entropy, data)
    assert report.coverage.fallbacks == ()
    truth = sum(s1 for x, y in data for s1, _ in oracle.moments(model, F.cross_entropy, x, y).values())
    assert report.sum_sq_norms == pytest.approx(truth, rel=1e-9)


def test_an_interval_from_few_effective_examples_is_flagged():
    torch.manual_seed(0)
    x, y = torch.randn(200, 4), torch.randint(0, 3, (200,))
    even = measure(LINEAR, F.cross_entropy, (x, y), population=1000)
    assert even.interval_warning is None
    x[3] *= 100
    y[3] = LINEAR(x[3]).argmin()
    heavy = measure(LINEAR, F.cross_entropy, (x, y), population=1000)
    assert heavy.effective_examples < 3
    assert heavy.interval_warning in str(heavy)
    assert "too few" in heavy.interval_warning


class Dropping(nn.Module):
    """Dropout called as a function, which no module's name gives away."""

    def __init__(self):
        super().__init__()
        self.o = nn.Linear(4, 3)

    def forward(self, x):
        return self.o(F.dropout(x, 0.5, self.training))


def test_dropout_called_as_a_function_is_named():
    with pytest.raises(MeasurementError, match=r"it calls dropout\)"):
        measure(Dropping(), F.cross_entropy, (X, Y))
    assert measure(Dropping(), F.cross_entropy, (X, Y), dropout="eval").num_examples == 8


class Folding(nn.Module):
    """Tokens of a batch in one axis, example-major or time-major, with a position table added before or after."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.ids, self.places, self.out = nn.Embedding(11, 4), nn.Embedding(9, 4), nn.Linear(4, 5)

    def forward(self, ids):
        n, length = ids.shape
        places = torch.arange(length)
        if self.form == "major":
            return self.out((self.ids(ids) + self.places(places)).flatten(0, 1)).view(n, length, -1).sum(1)
        if self.form == "minor":
            h = self.ids(ids.t().reshape(-1)) + self.places(places.repeat_interleave(n))
            return self.out(torch.tanh(h)).view(length, n, -1).sum(0)
        h = self.ids(ids.reshape(-1)) + self.places(places.repeat(n))
        return self.out(torch.tanh(h)).view(n, length, -1).mean(1)


def unpadded_set(seed):
    """A model and two batches of token sequences without padding: every batch has its own size and length."""
    generator = torch.Generator().manual_seed(seed)

    def number(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    torch.manual_seed(seed)
    model = Folding(("major", "minor", "flat")[seed % 3]).double()
    batches = []
    for _ in range(2):
        n, length = number(2, 8), number(1, 9)
        ids = torch.randint(0, 11, (n, length), generator=generator)
        batches.append((ids, torch.randint(0, 5, (n,), generator=generator)))
    return model, batches


def check_unpadded(seeds):
    for seed in seeds:
        model, batches = unpadded_set(seed)
        truth = [oracle_of(model, ids, labels) for ids, labels in batches]
        report = measure(model, F.cross_entropy, batches)
        total = truth[0][1] + truth[1][1]
        right = truth[0][0] + truth[1][0], float(total @ total)
        assert (report.sum_sq_norms, report.sq_norm_sum) == pytest.approx(right, rel=1e-9), seed


def oracle_of(model, ids, labels):
    """(sum of squared norms, sum of gradients) by a loop over examples."""
    squares, total = 0.0, 0.0
    for i, y in zip(ids, labels, strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(model(i[None]), y[None]), list(model.parameters()))
        flat = torch.cat([g.flatten() for g in gradients])
        squares, total = squares + float(flat @ flat), total + flat
    return squares, total


def test_unpadded_sets_of_two_batches():
    check_unpadded(range(15))


@pytest.mark.slow
def test_two_hundred_unpadded_sets_of_two_batches():
    check_unpadded(range(1000, 1200))
