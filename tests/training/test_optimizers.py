"""Every optimizer against torch.optim, or a plain reference, as stacked tensors and as modules."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batchscope.architectures import Architecture, build
from batchscope.data import epoch_order, load
from batchscope.errors import InputError
from batchscope.records.row import Target
from batchscope.training import Member, Settings
from batchscope.training.cohort import RunningCohort
from batchscope.training.engine_choice import fastest
from batchscope.training.execution import Execution
from batchscope.training.optimizers import OPTIMIZERS
from batchscope.training.parallel import ONE_RANK
from batchscope.training.schedule import step_size_factor
from tests.training.networks import NETS, images

# 97 examples by 13: 8 steps an epoch, 56 in all.
SETTINGS = Settings(13, Target("train_loss", -1.0), max_epochs=7, dtype="float64")
# Small steps: with large ones rounding grows from step to step where a gradient near 0 is divided by its own size.
MEMBERS = [Member(0.001, 1), Member(0.003, 2)]
Optimizer = Callable[[Iterable[torch.nn.Parameter], float], torch.optim.Optimizer]


class LARS(torch.optim.Optimizer):
    """You, Gitman & Ginsburg 2017, algorithm 1, one tensor at a time."""

    def __init__(self, parameters: Any, lr: float, decay: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self.decay = decay

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                g, rate = w.grad, group["lr"]
                if w.dim() > 1:
                    local = 0.001 * w.norm() / (g.norm() + self.decay * w.norm())
                    g = local * (g + self.decay * w)
                v = 0.9 * self.state[w].get("v", 0.0) + rate * g
                self.state[w]["v"] = v
                w -= v


class LAMB(LARS):
    """You et al. 2020, algorithm 2 with φ the identity, one tensor at a time."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                s, g = self.state[w], w.grad
                s["t"] = s.get("t", 0) + 1
                s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
                s["v"] = 0.999 * s.get("v", 0.0) + 0.001 * g * g
                u = s["m"] / (1 - 0.9 ** s["t"]) / ((s["v"] / (1 - 0.999 ** s["t"])).sqrt() + 1e-6)
                if w.dim() > 1:
                    u = u + self.decay * w
                    u = u * w.norm() / u.norm()
                w -= group["lr"] * u


# Name -> (settings, the optimizer they stand for). With decay λ = 0.1.
CASES: dict[str, tuple[dict[str, Any], Optimizer]] = {
    "sgd": ({}, lambda p, lr: torch.optim.SGD(p, lr)),
    "sgd decay": ({"weight_decay": 0.1}, lambda p, lr: torch.optim.SGD(p, lr, weight_decay=0.1)),
    "momentum": ({"momentum": 0.8}, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.8)),
    "momentum decay": (
        {"momentum": 0.8, "weight_decay": 0.1},
        lambda p, lr: torch.optim.SGD(p, lr, momentum=0.8, weight_decay=0.1),
    ),
    "nesterov": ({"optimizer": "nesterov"}, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True)),
    "nesterov decay": (
        {"optimizer": "nesterov", "momentum": 0.7, "weight_decay": 0.1},
        lambda p, lr: torch.optim.SGD(p, lr, momentum=0.7, nesterov=True, weight_decay=0.1),
    ),
    "adam": ({"optimizer": "adam"}, lambda p, lr: torch.optim.Adam(p, lr)),
    "adam options": (
        {"optimizer": "adam", "beta1": 0.7, "beta2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
        lambda p, lr: torch.optim.Adam(p, lr, betas=(0.7, 0.9), eps=1e-3, weight_decay=0.1),
    ),
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 0.1},
        lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.1),
    ),
    "rmsprop": ({"optimizer": "rmsprop"}, lambda p, lr: torch.optim.RMSprop(p, lr, alpha=0.9)),
    "rmsprop options": (
        {"optimizer": "rmsprop", "rho": 0.99, "momentum": 0.5, "weight_decay": 0.1},
        lambda p, lr: torch.optim.RMSprop(p, lr, alpha=0.99, momentum=0.5, weight_decay=0.1),
    ),
    "adagrad": (
        {"optimizer": "adagrad", "weight_decay": 0.1},
        lambda p, lr: torch.optim.Adagrad(p, lr, weight_decay=0.1),
    ),
    "adadelta": (
        {"optimizer": "adadelta", "weight_decay": 0.1},
        lambda p, lr: torch.optim.Adadelta(p, lr, rho=0.95, eps=1e-6, weight_decay=0.1),
    ),
    "lars": ({"optimizer": "lars", "weight_decay": 0.1}, lambda p, lr: LARS(p, lr, 0.1)),
    "lamb": ({"optimizer": "lamb", "weight_decay": 0.1}, lambda p, lr: LAMB(p, lr, 0.1)),
}


def loop(net: Architecture, data: Any, settings: Settings, member: Member, make: Optimizer) -> dict[str, torch.Tensor]:
    model = build(net, settings.initialisation, member.seed, torch.float64)
    optimizer = make(model.parameters(), member.step_size)
    inputs, labels = torch.as_tensor(data.inputs).double(), torch.as_tensor(data.targets)
    steps, done = math.ceil(len(inputs) / settings.batch_size), 0
    for epoch in range(settings.max_epochs):
        for batch in torch.as_tensor(epoch_order(len(inputs), member.seed, epoch)).split(settings.batch_size):
            done += 1
            for group in optimizer.param_groups:
                group["lr"] = member.step_size * step_size_factor(settings, done, steps)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return {name: value.detach() for name, value in model.state_dict().items()}


def cohort(net: Architecture, data: Any, settings: Settings, execution: Execution | None) -> list[dict[str, Any]]:
    with torch.inference_mode() if execution is None else torch.enable_grad():
        made = RunningCohort(net, data, settings, MEMBERS, torch.device("cpu"), ONE_RANK, execution)
        made.begin()
        for epoch in range(settings.max_epochs):
            made.train_epoch(epoch)
        if execution is None:
            return [made.engine.stack.member(index) for index in range(len(MEMBERS))]
        return [network.module.state_dict() for network in made.engine.networks]


def assert_same(state: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def test_every_optimizer_has_a_case() -> None:
    assert {values.get("optimizer", "sgd") for values, _ in CASES.values()} == set(OPTIMIZERS)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("schedule", [{}, {"schedule": "cosine", "warmup_epochs": 1.5}], ids=["constant", "cosine"])
def test_stacked_members_equal_the_plain_loop(case: str, schedule: dict[str, Any]) -> None:
    values, make = CASES[case]
    data, settings = load("digits", num_examples=97), dataclasses.replace(SETTINGS, **values, **schedule)
    net = Architecture("fully_connected", data.inputs.shape[1:], data.d_out, 3, 5, activation="tanh")
    for member, state in zip(MEMBERS, cohort(net, data, settings, None), strict=True):
        assert_same(state, loop(net, data, settings, member, make))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("schedule", [{}, {"schedule": "linear", "warmup_epochs": 1.5}], ids=["constant", "linear"])
def test_modules_equal_the_plain_loop_one_after_another_and_vectorised(case: str, schedule: dict[str, Any]) -> None:
    values, make = CASES[case]
    net = NETS["lenet"]
    settings = dataclasses.replace(SETTINGS, batch_size=4, max_epochs=17, **values, **schedule)
    data = images(net.input_shape, 11)  # 11 by 4: 3 steps an epoch, 51 in all
    expected = [loop(net, data, settings, member, make) for member in MEMBERS]
    for kind in ("one after another", "vectorised"):
        for state, plain in zip(cohort(net, data, settings, Execution(kind)), expected, strict=True):
            assert_same(state, plain)


def test_schedules_rise_and_fall_as_published() -> None:
    def factors(**values: Any) -> list[float]:
        settings = dataclasses.replace(SETTINGS, max_epochs=5, **values)
        return [step_size_factor(settings, step, 4) for step in range(1, 21)]

    assert factors() == [1.0] * 20
    assert factors(warmup_epochs=2.0) == pytest.approx([k / 8 for k in range(1, 8)] + [1.0] * 13)
    assert factors(schedule="linear") == pytest.approx([1 - k / 20 for k in range(20)])
    cosine = factors(schedule="cosine", warmup_epochs=1.0)
    assert cosine[:4] == [0.25, 0.5, 0.75, 1.0]
    assert cosine[3:] == pytest.approx([(1 + math.cos(math.pi * k / 17)) / 2 for k in range(17)])
    assert step_size_factor(dataclasses.replace(SETTINGS, schedule="linear", schedule_epochs=2), 99, 4) == 0.0


def test_hyper_parameters_of_other_optimizers_are_refused() -> None:
    from batchscope.studies import Study

    fixed = {"name": "x", "dataset": "digits", "shapes": [[1, 5]], "batch_sizes": [4], "target": {"train_loss": 0.1}}
    with pytest.raises(InputError, match=r"beta1 = 0\.5 has no meaning for optimizer 'lars'"):
        Study(**fixed, optimizer="lars", beta1=0.5)
    with pytest.raises(InputError, match="did you mean 'adagrad'"):
        Study(**fixed, optimizer="adgrad")


class OutOfMemory(torch.nn.Module):
    """A network for which memory never suffices, or one that is at fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.weight, self.error = torch.nn.Parameter(torch.ones(3)), error

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("at fault")])
@pytest.mark.parametrize("kinds", [("vectorised",), ("vectorised", "one after another")])
def test_errors_while_ways_are_timed_are_not_swallowed(error: Exception, kinds: tuple[str, ...]) -> None:
    ways = [Execution(kind) for kind in kinds]
    modules = [OutOfMemory(error) for _ in MEMBERS]
    with pytest.raises(type(error), match=str(error)):
        fastest(ways, modules, images((2, 16, 17)), SETTINGS, MEMBERS, torch.device("cpu"), 5)


@pytest.mark.parametrize(
    "text", ["stacked", "in streams, channels_last, replayed", "one after another, on 3 ranks", "vectorised"]
)
def test_an_execution_is_read_as_it_is_written(text: str) -> None:
    assert str(Execution.parse(text)) == text
    with pytest.raises(InputError, match="expected channels_last, replayed, on N ranks"):
        Execution.parse(f"{text}, upside down")
