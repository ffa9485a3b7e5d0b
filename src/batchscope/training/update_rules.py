"""Update rules, one class each, for any trainer: a sink that takes gradients, and a step that moves the parameter.

A trainer that can form a gradient as a product of two matrices adds it straight into `sink` with the factors `beta` and
`alpha` (one call of addmm or baddbmm, no gradient ever stored); one that has the gradient at hand calls `take`. The
gradient is multiplied beforehand by `scale`, which may hold one step size per member of a cohort. For plain SGD the
sink is the parameter itself: the product *is* the step.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from batchscope.training.settings import Settings


class UpdateRule(abc.ABC):
    """The rule for one parameter tensor; its state, if any, is indexed like the parameter."""

    beta: float  # sink <- beta * sink + alpha * scale * gradient
    alpha: float

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter

    @property
    @abc.abstractmethod
    def sink(self) -> Tensor:
        """Where scaled gradients go; same shape as the parameter."""

    @staticmethod
    @abc.abstractmethod
    def scale(step_sizes: Tensor) -> Tensor:
        """The factor by which the gradient of the mean loss is multiplied before it reaches the sink."""

    @abc.abstractmethod
    def step(self, step_sizes: Tensor) -> None:
        """Move the parameter, the sink being filled. step_sizes broadcasts against the parameter."""

    def take(self, scaled_gradient: Tensor) -> None:
        """Put a gradient that is already scaled into the sink."""
        if self.beta != 1:
            self.sink.mul_(self.beta)
        self.sink.add_(scaled_gradient, alpha=self.alpha)

    def select(self, parameter: Tensor, members: Tensor, dim: int) -> Self:
        """The same rule for the members that go on, given their already selected parameter."""
        chosen = type(self).__new__(type(self))
        for name, value in vars(self).items():
            per_member = isinstance(value, Tensor) and value is not self.parameter and value.dim() > 0
            setattr(chosen, name, value.index_select(dim, members) if per_member else value)
        chosen.parameter = parameter
        return chosen

    def state(self) -> dict[str, Any]:
        """All but the parameter itself: tensors and numbers."""
        return {name: value for name, value in vars(self).items() if value is not self.parameter}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` of the same rule returned."""
        for name, value in state.items():
            if isinstance(value, Tensor):
                getattr(self, name).copy_(value)
            else:
                setattr(self, name, value)


class SGD(UpdateRule):
    """w <- w - η g."""

    beta, alpha = 1.0, -1.0

    @property
    def sink(self) -> Tensor:
        return self.parameter

    @staticmethod
    def scale(step_sizes: Tensor) -> Tensor:
        return step_sizes

    def step(self, step_sizes: Tensor) -> None:
        pass


class Momentum(UpdateRule):
    """Heavy ball, v <- μ v + η g, w <- w - v: with a constant step size the same as torch.optim.SGD(momentum=μ)."""

    alpha = 1.0

    def __init__(self, parameter: Tensor, momentum: float) -> None:
        super().__init__(parameter)
        self.beta = momentum
        self.velocity = torch.zeros_like(parameter)

    @property
    def sink(self) -> Tensor:
        return self.velocity

    @staticmethod
    def scale(step_sizes: Tensor) -> Tensor:
        return step_sizes

    def step(self, step_sizes: Tensor) -> None:
        self.parameter.sub_(self.velocity)


class Adam(UpdateRule):
    """Kingma & Ba 2015, algorithm 1, with their β = (0.9, 0.999) and ε = 1e-8."""

    beta, alpha = 0.0, 1.0
    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameter: Tensor) -> None:
        super().__init__(parameter)
        self.gradient = torch.zeros_like(parameter)
        self.mean = torch.zeros_like(parameter)
        self.square = torch.zeros_like(parameter)
        # A tensor, so that a step recorded as a CUDA graph counts too.
        self.steps = torch.zeros((), dtype=torch.float64, device=parameter.device)

    @property
    def sink(self) -> Tensor:
        return self.gradient

    @staticmethod
    def scale(step_sizes: Tensor) -> Tensor:
        return torch.ones_like(step_sizes)

    def step(self, step_sizes: Tensor) -> None:
        self.steps += 1
        self.mean.lerp_(self.gradient, 1 - self.BETA1)
        self.square.mul_(self.BETA2).addcmul_(self.gradient, self.gradient, value=1 - self.BETA2)
        root = self.square.div(1 - self.BETA2**self.steps).sqrt_().add_(self.EPSILON)
        self.parameter.sub_(self.mean.div(root).mul_(step_sizes / (1 - self.BETA1**self.steps)))


class GradientSum(UpdateRule):
    """Moves nothing: its sink gathers the sum of what it is given, for measurements."""

    beta, alpha = 1.0, 1.0

    def __init__(self, parameter: Tensor) -> None:
        super().__init__(parameter)
        self.total = torch.zeros_like(parameter)

    @property
    def sink(self) -> Tensor:
        return self.total

    @staticmethod
    def scale(step_sizes: Tensor) -> Tensor:
        return torch.ones_like(step_sizes)

    def step(self, step_sizes: Tensor) -> None:
        pass


def update_rule(settings: Settings, parameter: Tensor) -> UpdateRule:
    """The rule that the settings ask for, with fresh state, for one parameter tensor."""
    if settings.optimizer == "adam":
        return Adam(parameter)
    return Momentum(parameter, settings.momentum) if settings.momentum else SGD(parameter)
