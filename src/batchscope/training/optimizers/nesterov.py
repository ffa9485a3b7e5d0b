"""Nesterov momentum, in the form of Sutskever et al. 2013 that torch.optim has."""

from __future__ import annotations

from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.sgd import HeavyBall

MOMENTUM = 0.9  # of Sutskever et al. 2013's range, and what Goyal et al. 2017 train with


class Nesterov(HeavyBall):
    """v <- μ v + g, w <- w - η (g + μ v)."""

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.velocity.mul_(self.momentum).add_(gradient)
        self.parameter.sub_(gradient.add_(self.velocity, alpha=self.momentum).mul_(step_sizes))


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> Nesterov:
    """Momentum 0.9 unless given."""
    return Nesterov(parameter, layer_dims, settings.weight_decay, settings.momentum or MOMENTUM)
