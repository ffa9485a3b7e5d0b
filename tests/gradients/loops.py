"""A training loop run twice, unobserved and observed: the same bit for bit, with the moments of single examples."""

import contextlib
import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from batchscope.gradients import observe

SIZE = 6
GENERATOR = torch.Generator().manual_seed(3)
DATA = [
    (torch.randn(SIZE, 5, generator=GENERATOR), torch.randint(0, 3, (SIZE,), generator=GENERATOR)) for _ in range(5)
]


def net():
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


class Growing(nn.Module):
    """Makes a layer in its first call."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), None

    def forward(self, x):
        self.last = nn.Linear(4, 3) if self.last is None else self.last
        return self.last(self.first(x))


class Recurrent(nn.Module):
    """Observed by a second pass."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x[:, None].expand(-1, 2, -1))[0][:, -1])


def cross_entropy(model, x, y):
    """The loss of the loops in the tests, and of one example."""
    return F.cross_entropy(model(x), y)


def plain(model, x, y):
    """Forward and backward pass of an ordinary step."""
    cross_entropy(model, x, y).backward()


def both(build, step=plain, one=cross_entropy, data=DATA[:3], given=True, **options):
    """The observed one of two runs of `step(model, x, y)` over `data`, which are the same bit for bit.

    one: the loss of a batch of one, in float64; None where it is not compared. given: whether observe is told the
    optimizer. options: of observe.
    """
    left, right = _run(build, step, one, data, lambda model, optimizer: contextlib.nullcontext())[1:]
    told = (lambda optimizer: {"optimizer": optimizer, **options}) if given else (lambda optimizer: options)
    observed, again, _ = _run(build, step, None, data, lambda model, optimizer: observe(model, **told(optimizer)))
    assert len(left) == len(again)
    assert all(map(_same, left, again))
    assert not _get_current_function_mode_stack()
    if one is not None:
        check(observed, dict(enumerate(right)))
    return observed


def check(observed, right):
    """right: step -> (N, S1, Q)."""
    assert list(observed.history) == list(right), str(observed)
    for step, moments in observed.history.items():
        found = moments.num_examples, moments.sum_sq_norms, moments.sq_norm_sum
        assert found == pytest.approx(right[step], rel=1e-3), f"step {step}\n{observed}"


def truth(model, one, x, y):
    """(N, S1, Q) by a loop over examples, in float64."""
    with torch.random.fork_rng():
        model = copy.deepcopy(model).double()
        parameters = [p for p in model.parameters() if p.requires_grad]
        rows = []
        for i in range(len(y)):
            loss = one(model, _double(x[i : i + 1]), _double(y[i : i + 1]))
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if g is None else g).flatten()
                        for p, g in zip(parameters, found, strict=True)
                    ]
                )
            )
    total = torch.stack(rows).sum(0)
    return len(y), float(sum(row @ row for row in rows)), float(total @ total)


def _run(build, step, one, data, watch):
    """(the context, all that a run leaves behind, the truth of every step)."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the user's generator, which must not move
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    left, right = [], []
    with watch(model, optimizer) as observed:
        for x, y in data:
            if one is not None:
                right.append(truth(model, one, x, y))
            step(model, x, y)
            left += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.step()
            optimizer.zero_grad()
    left += [value.clone() for value in model.state_dict().values()]
    left += [torch.random.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype("int64"))]  # noqa: NPY002
    left.append(torch.tensor(hash(random.getstate())))
    left.append(torch.tensor([_hooks(module) for module in model.modules()]))
    return observed, left, right


def _hooks(module):
    return [len(value) for key, value in sorted(module.__dict__.items()) if "hooks" in key and value is not None]


def _same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _double(x):
    return x.double() if x.is_floating_point() else x
