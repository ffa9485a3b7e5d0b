"""LARS: a step size for every layer from the norms of weights and gradient (You et al. 2017, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient

MOMENTUM, TRUST = 0.9, 0.001  # theirs: m and the trust coefficient


class LARS(FromGradient):
    """r = κ ‖w‖ / (‖g‖ + λ ‖w‖) per layer, v <- μ v + η r (g + λ w), w <- w - v.

    Biases and the gains of normalisation layers take r = 1 and no decay. r = 1 too where a norm is 0.
    """

    decays_in_gradient = False

    def __init__(self, parameter: Tensor, layer_dims: int, weight_decay: float, momentum: float, trust: float) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.momentum, self.trust = momentum, trust
        self.velocity = torch.zeros_like(parameter)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        if self.is_weight:
            ratio = self._ratio(gradient)
            gradient.add_(self.parameter, alpha=self.weight_decay).mul_(ratio)
        self.velocity.mul_(self.momentum).add_(gradient.mul_(step_sizes))
        self.parameter.sub_(self.velocity)

    def _ratio(self, gradient: Tensor) -> Tensor:
        weight, slope = self.layer_norm(self.parameter), self.layer_norm(gradient)
        ratio = self.trust * weight / (slope + self.weight_decay * weight)
        return torch.where((weight > 0) & (slope > 0), ratio, 1.0)


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> LARS:
    """Momentum 0.9 and trust coefficient 0.001 unless given (You et al. 2017)."""
    momentum, trust = settings.momentum or MOMENTUM, settings.trust or TRUST
    return LARS(parameter, layer_dims, settings.weight_decay, momentum, trust)
