"""Nesterov momentum, in the form of Sutskever et al. 2013 that torch.optim has."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient

MOMENTUM = 0.9  # of Sutskever et al. 2013's range, and what Goyal et al. 2017 train with


class Nesterov(FromGradient):
    """v <- μ v + g, w <- w - η (g + μ v)."""

    def __init__(self, parameter: Tensor, layer_dims: int, weight_decay: float, momentum: float) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.momentum = momentum
        self.velocity = torch.zeros_like(parameter)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.velocity.mul_(self.momentum).add_(gradient)
        self.parameter.sub_(gradient.add_(self.velocity, alpha=self.momentum).mul_(step_sizes))


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> Nesterov:
    """Momentum 0.9 unless given."""
    return Nesterov(parameter, layer_dims, settings.weight_decay, settings.momentum or MOMENTUM)
