"""Adagrad, diagonal form (Duchi, Hazan & Singer 2011)."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient

EPSILON = 1e-10  # of torch.optim; Duchi et al. add a small δ without naming it


class Adagrad(FromGradient):
    """s <- s + g², w <- w - η g / (sqrt(s) + ε)."""

    def __init__(self, parameter: Tensor, layer_dims: int, weight_decay: float, epsilon: float) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.epsilon = epsilon
        self.square_sum = torch.zeros_like(parameter)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.square_sum.addcmul_(gradient, gradient)
        self.parameter.sub_(gradient.div_(self.square_sum.sqrt().add_(self.epsilon)).mul_(step_sizes))


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> Adagrad:
    """ε = 1e-10 unless given, as in torch.optim."""
    return Adagrad(parameter, layer_dims, settings.weight_decay, settings.epsilon or EPSILON)
