"""Random small networks: layers, views, reuse, operations in place, broadcasting, composed by a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, LENGTH = 6, 5  # of a state [N, LENGTH, WIDTH]


class RandomModel(nn.Module):
    """A chain of random steps on a state [N, T, d], each with its parameters, and a head; in float64."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        chance = random.Random(seed)
        torch.manual_seed(seed)
        self.shared = nn.Linear(WIDTH, WIDTH)
        self.layers, self.values, self.steps = nn.ModuleList(), nn.ParameterList(), []
        for _ in range(chance.randint(2, 6)):
            self.steps.append(chance.choice(STEPS)(self, chance))
        self.head, self.pooling = nn.Linear(WIDTH, 3), chance.choice(["mean", "last", "flat"])
        self.double()

    def layer(self, module: nn.Module) -> nn.Module:
        self.layers.append(module)
        return module

    def value(self, *shape: int) -> nn.Parameter:
        self.values.append(nn.Parameter(torch.randn(shape) * 0.5))
        return self.values[len(self.values) - 1]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        if self.pooling == "mean":
            return self.head(x.mean(1))
        return (
            self.head(x[:, -1])
            if self.pooling == "last"
            else self.head(x.reshape(-1, WIDTH)).view(*x.shape[:2], 3).sum(1)
        )


Step = Callable[[Tensor], Tensor]
STEPS: list[Callable[[RandomModel, random.Random], Step]] = []


def step(build: Callable[[RandomModel, random.Random], Step]) -> Callable[[RandomModel, random.Random], Step]:
    STEPS.append(build)
    return build


def _activation(chance: random.Random) -> Step:
    return chance.choice(
        [torch.tanh, F.gelu, F.relu, lambda x: F.relu_(x), lambda x: x.sigmoid_(), lambda x: x.mul_(0.5)]
    )


@step
def linear(model: RandomModel, chance: random.Random) -> Step:
    layer, act = model.layer(nn.Linear(WIDTH, WIDTH, bias=chance.random() < 0.7)), _activation(chance)
    return lambda x: act(layer(x))


@step
def folded(model: RandomModel, chance: random.Random) -> Step:
    layer, act, minor = model.layer(nn.Linear(WIDTH, WIDTH)), _activation(chance), chance.random() < 0.5

    def run(x: Tensor) -> Tensor:
        n, t, d = x.shape
        if minor:
            return act(layer(x.transpose(0, 1).reshape(t * n, d))).view(t, n, d).transpose(0, 1)
        return act(layer(x.reshape(n * t, d))).view(n, t, d)

    return run


@step
def residual_in_place(model: RandomModel, chance: random.Random) -> Step:
    layer, shared = model.layer(nn.Linear(WIDTH, WIDTH)), chance.random() < 0.5

    def run(x: Tensor) -> Tensor:
        y = (model.shared if shared else layer)(x)
        y += x
        return y

    return run


@step
def reused(model: RandomModel, chance: random.Random) -> Step:
    times = chance.randint(1, 3)

    def run(x: Tensor) -> Tensor:
        for _ in range(times):
            x = torch.tanh(model.shared(x))
        return x

    return run


@step
def normalised(model: RandomModel, chance: random.Random) -> Step:
    if chance.random() < 0.4:
        groups = model.layer(nn.GroupNorm(2, WIDTH))
        return lambda x: groups(x.transpose(1, 2)).transpose(1, 2)
    return model.layer(chance.choice([nn.LayerNorm(WIDTH), nn.RMSNorm(WIDTH), nn.LayerNorm(WIDTH, bias=False)]))


@step
def broadcast(model: RandomModel, chance: random.Random) -> Step:
    shape = chance.choice([(), (1,), (WIDTH,), (LENGTH, 1), (1, LENGTH, WIDTH), (1, 1)])
    value, kind = model.value(*shape), chance.choice(["add", "mul", "rsub", "div", "pow", "where", "add_"])
    run: dict[str, Step] = {
        "add": lambda x: x + value,
        "mul": lambda x: value * x,
        "rsub": lambda x: value - x,
        "div": lambda x: x / (2 + value.square()),
        "pow": lambda x: x * value.exp() ** 0.5,
        "where": lambda x: torch.where(x > 0, x, x * value),
        "add_": lambda x: (x * 1.0).add_(value),
    }
    return run[kind]


@step
def matrix(model: RandomModel, chance: random.Random) -> Step:
    left, right = model.value(LENGTH, LENGTH), model.value(WIDTH, WIDTH)
    run: list[Step] = [
        lambda x: left @ x,
        lambda x: x @ right,
        lambda x: x @ right.t() + x @ right,
        lambda x: torch.einsum("ntd,ts->nsd", x, left),
        lambda x: torch.einsum("ntd,de->nte", x, right).tanh_(),
        lambda x: x @ (right * right.tanh()),
        lambda x: x @ (right + model.shared.weight),
    ]
    return chance.choice(run)


@step
def sliced(model: RandomModel, chance: random.Random) -> Step:
    table, start = model.value(2 * LENGTH, WIDTH), chance.randint(0, LENGTH)
    run: list[Step] = [
        lambda x: x + table[start : start + LENGTH],
        lambda x: torch.cat([x[:, :2], x[:, 2:] * table[start]], 1),
        lambda x: x + table[torch.arange(LENGTH) * 2 - 1],
        lambda x: x * table.view(2, LENGTH, WIDTH)[1],
    ]
    return chance.choice(run)


@step
def written(model: RandomModel, chance: random.Random) -> Step:
    value, layer = model.value(WIDTH), model.layer(nn.Linear(WIDTH, WIDTH))

    def run(x: Tensor) -> Tensor:
        y = layer(x)
        y[:, 1] = value
        y[:, 2:4] *= 0.5
        return y

    return run


@step
def convolved(model: RandomModel, chance: random.Random) -> Step:
    layer = model.layer(nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=chance.choice([1, 2, 3])))
    return lambda x: torch.tanh(layer(x.transpose(1, 2)).transpose(1, 2))


@step
def attended(model: RandomModel, chance: random.Random) -> Step:
    layer = model.layer(nn.MultiheadAttention(WIDTH, 2, batch_first=True))
    return lambda x: x + layer(x, x, x, need_weights=chance.random() < 0)[0]


@step
def recurrent(model: RandomModel, chance: random.Random) -> Step:
    kind: Any = chance.choice([nn.GRU, nn.LSTM, nn.RNN])
    layer = model.layer(kind(WIDTH, WIDTH, batch_first=True))
    return lambda x: layer(x)[0]


@step
def token(model: RandomModel, chance: random.Random) -> Step:
    value = model.value(1, 1, WIDTH)
    return lambda x: torch.cat([value.expand(len(x), -1, -1), x[:, 1:]], 1)


@step
def gated(model: RandomModel, chance: random.Random) -> Step:
    layer, gate = model.layer(nn.Linear(WIDTH, 2 * WIDTH)), model.layer(nn.Bilinear(WIDTH, WIDTH, WIDTH))
    if chance.random() < 0.5:
        return lambda x: F.glu(layer(x), -1)
    return lambda x: torch.tanh(gate(x, x.flip(1)))


@step
def generated(model: RandomModel, chance: random.Random) -> Step:
    """A weight computed from each example, and one computed from other weights."""
    maker, code = model.layer(nn.Linear(WIDTH, WIDTH * WIDTH)), model.value(WIDTH)
    if chance.random() < 0.5:
        return lambda x: torch.bmm(x, maker(x.mean(1)).view(-1, WIDTH, WIDTH).tanh())
    return lambda x: x @ maker(code).view(WIDTH, WIDTH)


@step
def chosen(model: RandomModel, chance: random.Random) -> Step:
    """Tokens sent to one of two experts by their values: sizes depend on the data."""
    experts = [model.layer(nn.Linear(WIDTH, WIDTH)) for _ in range(2)]

    def run(x: Tensor) -> Tensor:
        flat = x.reshape(-1, WIDTH)
        out = torch.zeros_like(flat)
        for e, expert in enumerate(experts):
            rows = ((flat[:, 0] > 0) == bool(e)).nonzero()[:, 0]
            out.index_add_(0, rows, expert(flat[rows]))
        return out.view_as(x)

    return run


@step
def looked_up(model: RandomModel, chance: random.Random) -> Step:
    table = model.layer(nn.Embedding(4, WIDTH))

    def run(x: Tensor) -> Tensor:
        ids = (x.detach()[..., 0] > 0).long() + 2 * (x.detach()[..., 1] > 0).long()
        return x + (table(ids) if len(model.steps) % 2 else table(ids.view(-1)).view_as(x))

    return run


@step
def prototypes(model: RandomModel, chance: random.Random) -> Step:
    value = model.value(WIDTH, WIDTH)
    return lambda x: torch.cdist(x, value)
