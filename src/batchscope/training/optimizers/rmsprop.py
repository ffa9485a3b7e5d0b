"""RMSprop (Tieleman & Hinton 2012, lecture 6.5), in the form of torch.optim."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient

RHO = 0.9  # theirs, and the default of Keras; torch.optim has 0.99
EPSILON = 1e-8  # of torch.optim; the lecture has none


class RMSprop(FromGradient):
    """v <- ρ v + (1 - ρ) g², u <- μ u + g / (sqrt(v) + ε), w <- w - η u."""

    def __init__(
        self, parameter: Tensor, layer_dims: int, weight_decay: float, rho: float, epsilon: float, momentum: float
    ) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.rho, self.epsilon, self.momentum = rho, epsilon, momentum
        self.square = torch.zeros_like(parameter)
        self.velocity = torch.zeros_like(parameter)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.square.mul_(self.rho).addcmul_(gradient, gradient, value=1 - self.rho)
        self.velocity.mul_(self.momentum).add_(gradient.div_(self.square.sqrt().add_(self.epsilon)))
        self.parameter.sub_(self.velocity * step_sizes)


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> RMSprop:
    """Memory ρ = 0.9 and ε = 1e-8 unless given (Tieleman & Hinton 2012)."""
    rho, epsilon = settings.rho or RHO, settings.epsilon or EPSILON
    return RMSprop(parameter, layer_dims, settings.weight_decay, rho, epsilon, settings.momentum)
