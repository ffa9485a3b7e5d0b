"""Stochastic gradient descent, plain and with heavy-ball momentum (Polyak 1964)."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient, UpdateRule


class SGD(UpdateRule):
    """w <- w - η g. The sink is the parameter itself: the product of the backward pass *is* the step."""

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
    """v <- μ v + η g, w <- w - v: with a constant step size the same as torch.optim.SGD(momentum=μ)."""

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


class HeavyBall(FromGradient):
    """v <- μ v + g, w <- w - η v, where the gradient holds λ w or η changes along the run: torch.optim.SGD."""

    def __init__(self, parameter: Tensor, layer_dims: int, weight_decay: float, momentum: float) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.momentum = momentum
        self.velocity = torch.zeros_like(parameter)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.velocity.mul_(self.momentum).add_(gradient)
        self.parameter.sub_(self.velocity * step_sizes)


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> UpdateRule:
    """The cheapest of the three that gives the numbers asked for."""
    if settings.weight_decay or (settings.momentum and settings.is_scheduled):
        return HeavyBall(parameter, layer_dims, settings.weight_decay, settings.momentum)
    return Momentum(parameter, settings.momentum) if settings.momentum else SGD(parameter)
