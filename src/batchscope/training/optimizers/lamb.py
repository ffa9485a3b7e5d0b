"""LAMB: Adam's step brought to the norm of each layer's weights (You et al. 2020, algorithm 2, φ the identity)."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.adam import Adam

EPSILON = 1e-6  # theirs


class LAMB(Adam):
    """u = m̂ / (sqrt(v̂) + ε) + λ w, w <- w - η (‖w‖ / ‖u‖) u per layer.

    Biases and the gains of normalisation layers take the ratio 1 and no decay. The ratio is 1 too where a norm is 0.
    """

    decays_in_gradient = False

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        root = self._root(gradient)
        update = self.mean.div(root).div_(1 - self.beta1**self.steps)
        if self.is_weight:
            update.add_(self.parameter, alpha=self.weight_decay)
            weight, length = self.layer_norm(self.parameter), self.layer_norm(update)
            update.mul_(torch.where((weight > 0) & (length > 0), weight / length, 1.0))
        self.parameter.sub_(update.mul_(step_sizes))


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> LAMB:
    """ε = 1e-6 unless given (You et al. 2020)."""
    betas = settings.beta1, settings.beta2
    return LAMB(parameter, layer_dims, settings.weight_decay, betas, settings.epsilon or EPSILON)
