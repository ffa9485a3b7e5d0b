"""Adadelta (Zeiler 2012, algorithm 1); the step size multiplies his update, which has none."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient

RHO, EPSILON = 0.95, 1e-6  # of his experiments on MNIST; torch.optim has ρ = 0.9


class Adadelta(FromGradient):
    """v <- ρ v + (1 - ρ) g², Δ = g sqrt(u + ε) / sqrt(v + ε), u <- ρ u + (1 - ρ) Δ², w <- w - η Δ."""

    def __init__(self, parameter: Tensor, layer_dims: int, weight_decay: float, rho: float, epsilon: float) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.rho, self.epsilon = rho, epsilon
        self.square = torch.zeros_like(parameter)
        self.square_update = torch.zeros_like(parameter)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.square.mul_(self.rho).addcmul_(gradient, gradient, value=1 - self.rho)
        root = self.square_update.add(self.epsilon).sqrt_()
        update = gradient.mul_(root).div_(self.square.add(self.epsilon).sqrt_())
        self.square_update.mul_(self.rho).addcmul_(update, update, value=1 - self.rho)
        self.parameter.sub_(update * step_sizes)


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> Adadelta:
    """As published: ρ = 0.95, ε = 1e-6 (Zeiler 2012), unless given."""
    rho, epsilon = settings.rho or RHO, settings.epsilon or EPSILON
    return Adadelta(parameter, layer_dims, settings.weight_decay, rho, epsilon)
